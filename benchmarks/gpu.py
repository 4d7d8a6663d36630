"""Everything that is measured on a GPU, in pieces that each take a few minutes; what results/gpu holds is skipped.

    python benchmarks/gpu.py --root DATA [--minutes 8]

Stops after `minutes`, in the middle of a piece if need be: call again until it says that nothing is left. What was cut
is begun anew, but a condensation goes on where it was. In order: the tests marked `gpu`, the loops beside their literal
versions, accuracies in each precision, then published settings at full length (1, 10 and 50 images a class), ten
networks each: MNIST and CIFAR-10 with DM, M3D, DC, DSA, IDC and FRePo, CIFAR-10 with the others. `gan-latents` has
formulas of its own, so no published value belongs to it.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import tyro
from quality import DSA, HOME, SOFT, Cell, commit, machine, measure

from attar.files import write_json

RESULTS, SCRIPTS = HOME / "results" / "gpu", HOME / "benchmarks"
TOLD = 4000  # characters of what a piece printed that are kept
PATTERNS = (  # of the names of paths
    "features*",
    "train*",
    "dm, 10 classes, 32 px*",
    "m3d, 10 classes, 32 px*",
    "d[cs]*, 10 classes, *",
    "idc*",
    "gradient*",
    "dm, 100 classes*",
    "m3d, 100 classes*",
    "*10 classes, 64 px*",
    "*10 classes, 28 px*",
    "augmentation",
    "*ing",
    "k-*",
)
# data, method, what is added to its name, protocol, settings, and published accuracies at 1, 10 and 50 images a class
PUBLISHED: list[tuple[str, str, str, str, dict[str, Any], tuple[str, str, str]]] = [
    ("mnist", "dm", "", "dm", {}, ("89.7 ± 0.6", "97.5 ± 0.1", "98.6 ± 0.1")),
    ("mnist", "m3d", "", "idc", {}, ("94.4 ± 0.2", "97.6 ± 0.1", "98.2 ± 0.2")),
    ("cifar10", "dm", "", "dm", {}, ("26.0 ± 0.8", "48.9 ± 0.6", "63.0 ± 0.4")),
    ("cifar10", "m3d", "", "idc", {}, ("45.3 ± 0.3", "63.5 ± 0.2", "69.9 ± 0.5")),
    ("cifar10", "dance", "", "idc", {}, ("47.1 ± 0.2", "70.8", "76.1")),
    ("cifar10", "ncfm", "", "idc", SOFT, ("49.5 ± 0.3", "71.8 ± 0.3", "77.4 ± 0.3")),
    ("cifar10", "idm", "", "dm", {}, ("45.6 ± 0.7", "58.6 ± 0.1", "67.5 ± 0.1")),
    ("cifar10", "cafe", "", "cafe", {}, ("30.3 ± 1.1", "46.3", "55.5")),
    ("cifar10", "cafe", "+dsa", "dm", DSA, ("31.6 ± 0.8", "50.9", "62.3")),
    ("mnist", "dc", "", "dc-mnist", {}, ("91.7", "97.4", "98.8")),
    ("mnist", "dsa", "", "dm", {}, ("88.7", "97.8", "99.2")),
    ("mnist", "idc", "", "idc", {}, ("94.2", "98.4", "99.1")),
    ("cifar10", "dc", "", "dc", {}, ("28.3", "44.9", "53.9")),
    ("cifar10", "dsa", "", "dm", {}, ("28.8 ± 0.7", "52.1 ± 0.5", "60.6 ± 0.5")),
    ("cifar10", "idc", "", "idc", {}, ("50.6", "67.5", "74.5")),
    ("cifar10", "mtt", "", "mtt", {}, ("46.3 ± 0.8", "65.3 ± 0.7", "71.6 ± 0.2")),
    ("cifar10", "ftd", "", "mtt", {}, ("46.8 ± 0.3", "66.6 ± 0.3", "73.8 ± 0.2")),
    ("cifar10", "datm", "", "datm", {}, ("46.9", "66.8", "76.1")),
    ("cifar10", "gan-latents", "", "dm", {}, ("", "", "")),
    ("cifar10", "dim", "", "dim", {}, ("", "", "")),  # sources contradict each other
    ("cifar10", "rat-bptt", "", "bptt", {}, ("53.2 ± 0.7", "69.4 ± 0.4", "75.3 ± 0.3")),
    ("cifar10", "bptt", "", "bptt", {}, ("49.1", "62.4", "70.5")),
    ("cifar10", "frepo", "", "frepo", {}, ("46.8 ± 0.7", "65.5 ± 0.4", "71.7 ± 0.2")),
    ("mnist", "frepo", "", "frepo", {}, ("93.0", "98.6", "99.2")),
]
CELLS = [
    Cell(data, method, ipc, (protocol,), value, seeds=10, settings={"published": True, **settings}, suffix=suffix)
    for data, method, suffix, protocol, settings, published in PUBLISHED
    for ipc, value in zip((1, 10, 50), published, strict=True)
]


def pieces(root: Path) -> dict[str, list[str]]:
    """The command of each; it is done once `results/gpu` holds a file of its name."""
    speed = [str(SCRIPTS / "speed.py"), "--device", "cuda", "--seconds", "5", "--only"]
    cell = [__file__, "--root", str(root), "--cell"]
    return {
        "tests": ["-m", "pytest", "-m", "gpu", "-n", "8", "-rf", "--tb=line", "tests/engine/test_gpu.py"],
        **{f"speed-{i}": [*speed, pattern] for i, pattern in enumerate(PATTERNS)},
        "agreement": [str(SCRIPTS / "agreement.py"), "--root", str(root), "--device", "cuda"],
        **{own.name: [*cell, own.name] for own in CELLS},
    }


def main(root: Path, minutes: float = 8.0, cell: str = "") -> None:
    """`cell`: measure only this one, to its end."""
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here that torch can use")
    for own in CELLS:
        if own.name == cell:
            return measure(own, root, RESULTS, "cuda")
    end = time.monotonic() + 60 * minutes
    for name, command in pieces(root).items():
        done = RESULTS / f"{name}.json"
        if done.exists():
            continue
        print(name, flush=True)
        log = RESULTS / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("w") as file:
                options = {"cwd": HOME, "stdout": file, "stderr": subprocess.STDOUT}
                left = max(0.0, end - time.monotonic())
                code = subprocess.run([sys.executable, *command], timeout=left, **options).returncode
        except subprocess.TimeoutExpired:
            print(f"{name} is not through, {log} says how far it came; call again", flush=True)
            return
        if not done.exists():  # a failure is a result too: the other pieces are measured all the same
            said = log.read_text()[-TOLD:]
            write_json(done, {"command": command, "exit": code, "said": said, "machine": machine(), "commit": commit()})
        log.unlink()
    print("nothing is left")


if __name__ == "__main__":
    tyro.cli(main)
