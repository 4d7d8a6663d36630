"""Which method, and whose recipe, where the user names none: the best of a race of all on held-out training images."""

import logging
import tomllib
from importlib import resources

from attar.data.task import Task
from attar.runs.recipe import check_data, lower_budget, read_recipe

LOG = logging.getLogger("attar")
DEFAULT = "m3d"  # where nothing is known


def choose(task: Task, ipc: int, recipe: str | None = None) -> tuple[str, str]:
    """The best method known for such data and so many images, and the data set whose recipe it takes.

    Both are logged, with the reason. Data without a recipe takes that of the nearest known data: digits below 16 pixels
    a side, else MNIST for grey images and CIFAR-10 for others. What is best was found by `benchmarks/race.py`, from
    each method's accuracy on a tenth of the training images held out. Raises `ValueError` for an unknown `recipe`.
    """
    data, races = check_data(recipe) if recipe else task.name, read_winners()
    # 16 lies between the sides of digits, 8, and of MNIST, 28.
    nearest = "digits" if max(task.shape[1:]) < 16 else "mnist" if task.shape[0] == 1 else "cifar10"
    like = data if data in races else nearest
    method, why = DEFAULT, "methods were not compared on such data"
    if like in races:
        budget, best = lower_budget(races[like], ipc)
        method, why = best["method"], f"on {like} at {budget} per class it had {best['why']}"
    source = data if read_recipe(method, data) else nearest
    # A warning, as Python shows nothing less unasked; and a choice made for the user should be seen.
    LOG.warning(f"method {method}, with its recipe for {source}: {why}")
    return method, source


def read_winners() -> dict[str, dict[str, dict[str, str]]]:
    """Method and reason for each data set and budget."""
    return tomllib.loads((resources.files("attar") / "recipes" / "best.toml").read_text(encoding="utf-8"))
