"""How many images should pass a network at once on a CPU, and how long its threads should wait before they sleep.

    python benchmarks/slices.py
    python benchmarks/slices.py --table               # what is there, as Markdown; of another machine with --name

Rates of the compiled ConvNet, in bf16 where the hardware multiplies in it, over 320 images of 32 pixels, in slices of
each size, without a graph and with the gradient of the pixels; best of some turns, as is the rate of a large product
beside. Each way of waiting has a process of its own, since threads learn it when they start.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import torch
import tyro
from courses import flop
from quality import HOME, commit, machine
from turns import ceilings, rates
from tyro.conf import arg

from attar.engine.device import keep_freed_memory
from attar.engine.precision import default_precision
from attar.engine.run import Run
from attar.files import read_json, write_json
from attar.networks.by_name import make_network
from attar.rng import CPU, Rng

RESULTS = HOME / "results" / "speed"
IMAGES, SIZES = 320, (8, 16, 32, 40, 80, 160, 320)
SPINS = {"sleep at once": "0", "spin briefly": "20000", "spin": "10000000000"}  # GOMP_SPINCOUNT


def both_ways(size: int) -> list[float]:
    """GFLOP/s without a graph and with the gradient of the pixels."""
    family = make_network("convnet", (3, 32, 32), 10)
    w, x = family.init(Rng.of(0)), torch.randn(IMAGES, 3, 32, 32)
    engine = Run(Rng.of(0), precision=default_precision(CPU), compile="on").engine(family.features, 0)

    @torch.no_grad()
    def forward() -> None:
        for part in x.split(size):
            engine(w, part)

    def gradient() -> None:
        for part in x.split(size):
            engine(w, part.detach().requires_grad_()).square().sum().backward()

    found = []
    for passes, function in ((1, forward), (2, gradient)):
        found.append(max(rates(function, passes * IMAGES * flop(32) / 1e9, "cpu", 8)))
    return found


def table(out: Path = RESULTS / "slices.json") -> str:
    """GFLOP/s without a graph, and with the gradient of the pixels, as Markdown."""
    found = read_json(out)["found"]
    lines = [f"| images at once | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|"]
    for i, size in enumerate(SIZES):
        cells = [", ".join(f"{rate:.0f}" for rate in column[i]) for column in found.values()]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    name: str = "slices",
    child: bool = False,
    table_only: Annotated[bool, arg(name="table")] = False,
) -> None:
    """`name`: of the file."""
    out = RESULTS / f"{name}.json"
    if table_only:
        print(table(out))
    elif child:
        keep_freed_memory()
        print(json.dumps([both_ways(size) for size in SIZES]))
    else:
        found, products = {}, []
        for wait, spin in SPINS.items():
            command, environment = [sys.executable, __file__, "--child"], os.environ | {"GOMP_SPINCOUNT": spin}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            found[wait] = json.loads(done.stdout)
            products.append(max(ceilings("cpu")[default_precision(CPU)]) / 1e9)
        write_json(out, {"found": found, "product": max(products), "machine": machine(), "commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
