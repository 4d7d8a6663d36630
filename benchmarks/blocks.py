"""Where the time of a network goes on a CPU: each block of the ConvNet beside the ceiling of its products.

    python benchmarks/blocks.py
    python benchmarks/blocks.py --table               # what is there, as Markdown; of another machine with --name

One slice of images of 32 pixels, as many as pass a network at once. Each block alone, compiled, and its convolution
alone: without a graph, and forward and backward to what entered. The products' time is theirs at the rate of a large
matrix product; best of some turns.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from quality import HOME, commit, machine
from torch import Tensor, nn
from turns import ceilings, precisions, rates
from tyro.conf import arg

from attar.engine.device import keep_freed_memory, threads
from attar.engine.fast_layers import quicken
from attar.engine.precision import Precision, use_precision
from attar.engine.run import SLICE, Run
from attar.files import read_json, write_json
from attar.networks.architectures import ConvNet
from attar.rng import CPU, Rng

RESULTS = HOME / "results" / "speed"
TURNS = 40


def images() -> int:
    return SLICE["cpu"] * threads(CPU)


def times(part: nn.Module, shape: torch.Size, precision: Precision) -> tuple[float, float]:
    """Seconds without a graph, and forward and backward."""
    engine = Run(Rng.of(0), precision=precision, compile="on").engine(lambda module, x: module(x), 0)
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    entered = x if shape[1] == 3 or precision == "fp32" else x.bfloat16()  # as the block before leaves it

    @torch.no_grad()
    def forward() -> Tensor:
        return engine(part, entered)

    gradient = torch.randn_like(forward())

    def forward_and_backward() -> None:
        engine(part, entered.detach().requires_grad_()).backward(gradient)

    return timed(forward), timed(forward_and_backward)


def timed(function: Callable[[], Any]) -> float:
    return 1 / max(rates(function, 1, "cpu", TURNS))


def measure() -> list[dict[str, Any]]:
    network, found = quicken(ConvNet((3, 32, 32), 10).requires_grad_(False), kernel=True), []
    for precision in precisions("cpu"):
        shape = torch.Size([images(), 3, 32, 32])
        for number, block in enumerate(list(network.body)[:-1], start=1):
            convolution: Any = block[0]
            flop = 2 * convolution.weight.numel() * shape[0] * shape[2] * shape[3]
            ceiling = flop / max(ceilings("cpu")[precision])
            record = {"precision": precision, "ceiling": ceiling, "convolution": times(convolution, shape, precision)}
            variants = {f"{number}, layer by layer": nn.Sequential(*block)} if number == 1 else {}
            for name, variant in {**variants, str(number): block}.items():
                found.append(record | {"block": name, "whole": times(variant, shape, precision)})
            shape = torch.Size([shape[0], convolution.out_channels, shape[2] // 2, shape[3] // 2])
    return found


def table(out: Path = RESULTS / "blocks.json") -> str:
    """Milliseconds of each block, its convolution and its products, as Markdown."""
    lines = [
        "| precision | block | products | convolution | whole block "
        "| forward and backward, products | convolution | whole block |",
        "|---" * 8 + "|",
    ]
    for record in read_json(out)["found"]:
        passes = [((1 + i) * record["ceiling"], record["convolution"][i], record["whole"][i]) for i in range(2)]
        cells = " | ".join(f"{1000 * seconds:.2f}" for own in passes for seconds in own)
        lines.append(f"| {record['precision']} | {record['block']} | {cells} |")
    return "\n".join(lines)


def main(
    name: str = "blocks",
    table_only: Annotated[bool, arg(name="table")] = False,
) -> None:
    """`name`: of the file."""
    out = RESULTS / f"{name}.json"
    if table_only:
        print(table(out))
        return
    keep_freed_memory()
    torch.manual_seed(0)
    with use_precision("fp32"):
        write_json(out, {"found": measure(), "images": images(), "machine": machine(), "commit": commit()})


if __name__ == "__main__":
    tyro.cli(main)
