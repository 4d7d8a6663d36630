"""What kernel regression makes of condensed sets, and of random real images of the same number, on the test set.

    python benchmarks/kernel_regression.py mnist --sets FOLDER … --root DATA [--draws 5] [--depth 1]

`FOLDER` holds a condensed set, such as one of `kip`. The kernel is that of `kip`, whitened where the set is. Writes
results/kernel-regression/FOLDER.json for every set; what is there already is skipped.
"""

import statistics
from pathlib import Path

import tyro
from quality import HOME, commit, machine
from tyro.conf import Positional

import attar
from attar.data.load import load_data
from attar.evaluation.audits.frame import draw_control
from attar.files import write_json
from attar.methods.performance.kip import KIP
from attar.rng import Rng

RESULTS = HOME / "results" / "kernel-regression"


def main(
    data: Positional[str] = "digits",
    sets: tuple[Path, ...] = (),
    root: Path | None = None,
    draws: int = 5,
    depth: int = 1,
) -> None:
    task, method = load_data(data, root=root), KIP(depth=depth)
    for folder in sets:
        out = RESULTS / f"{folder.name}.json"
        if out.exists():
            continue
        made = attar.load(folder)
        own = method.accuracy(made, task)
        controls = [draw_control(made, task, Rng.of(seed)).renormalised(made.normalisation) for seed in range(draws)]
        random = [method.accuracy(control, task) for control in controls]
        print(f"{folder.name}: {own:.1f} %, random real images {statistics.fmean(random):.1f} % ({draws} draws)")
        record = {"set": folder.name, "data": data, "depth": depth, "accuracy": own, "random": random}
        write_json(out, record | {"condensation": made.provenance, "machine": machine(), "commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
