"""Each method's settings as Markdown: the published values, and the recipes' beside them.

python benchmarks/settings.py --table m3d
"""

from dataclasses import fields
from typing import Annotated, Any

import tyro
from tyro.conf import arg

from attar.methods import find
from attar.runs.recipe import read_recipe, resolve

Row = list[str]
CELLS = [("mnist", 1), ("mnist", 10), ("cifar10", 1), ("cifar10", 10)]
# What users turn, also where all values agree.
TURNED = {
    "factor",
    "calibration",
    "discrepancy",
    "features",
    "epochs",
    "soft",
    "kernel",
    "C",
    "gamma",
    "most",
    "labels",
    "depth",
}
# No paper gives the settings of these: they stand on Attar's own defaults.
UNPUBLISHED = {
    "discrepancy",
    "gan-latents",
    "herding",
    "k-center",
    "k-means",
    "nearest-mean",
    "performance",
    "support-vectors",
}


def table(method: str) -> str:
    """One row for each setting that a recipe changes or that users turn."""
    cells = [cell for cell in CELLS if read_recipe(method, cell[0])]
    general = "default" if method in UNPUBLISHED else "paper"
    heads = ["setting", general, *(f"{data}, {ipc}" for data, ipc in cells)]
    rows = [heads, *list_settings(method, cells)]
    first, *others = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([first, "|---" * len(heads) + "|", *others])


def list_settings(method: str, cells: list[tuple[str, int]]) -> list[Row]:
    """A setting's name, its general value, and that of each cell's recipe."""
    ours, papers = (
        [resolve(method, data, ipc, {}, published=kind).hyperparameters for data, ipc in cells]
        for kind in (False, True)
    )
    rows = []
    for field in fields(find(method)):
        pairs = [(own[field.name], paper[field.name]) for own, paper in zip(ours, papers, strict=True)]
        if field.name in TURNED or any(own != paper for own, paper in pairs):
            told = [tell(own, paper, field.default) for own, paper in pairs]
            rows.append([f"`{field.name}`", write(field.default), *told])
    return rows


def tell(own: Any, paper: Any, general: Any) -> str:
    """A recipe's value, and in brackets what the paper sets for this data alone."""
    return write(own) if paper == general else f"{write(own)} ({write(paper)})"


def write(value: Any) -> str:
    """As `--set` takes it."""
    return str(value).lower()


def main(method: Annotated[str, arg(name="table")]) -> None:
    print(table(method))


if __name__ == "__main__":
    tyro.cli(main)
