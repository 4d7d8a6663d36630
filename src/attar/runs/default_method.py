"""Which method, and whose recipe, where the user names none: the best of a race of all on held-out training images."""

import logging
import tomllib
from importlib import resources

from attar.data.known_sets import DATASETS
from attar.data.task import Task
from attar.runs.recipe import check_data, lower_budget, read_recipe

LOG = logging.getLogger("attar")
DEFAULT = "m3d"  # where nothing is known


def choose(task: Task, ipc: int | None, recipe: str | None = None) -> tuple[str, str]:
    """The best method known for such data and so many images, and the data set whose recipe it takes.

    Both are logged, with the reason. Data without a recipe takes that of the nearest known data. What is best was found
    by `benchmarks/race.py`, from each method's accuracy on a tenth of the training images held out. Raises `ValueError`
    for an unknown `recipe`.
    """
    data, races = check_data(recipe) if recipe else task.name, read_winners()
    like = data if data in races else nearest(task)
    method, why = DEFAULT, "methods were not compared on such data"
    if like in races and ipc is not None:
        budget, best = lower_budget(races[like], ipc)
        method, why = best["method"], f"on {like} at {budget} per class it had {best['why']}"
    source = data if read_recipe(method, data) else nearest(task)
    # A warning, as Python shows nothing less unasked; and a choice made for the user should be seen.
    LOG.warning(f"method {method}, with its recipe for {source}: {why}")
    return method, source


def choose_recipe(task: Task, method: str) -> str:
    """The data set whose recipe a method takes: the task's own, or for data without one the nearest known data's.

    The latter is logged.
    """
    like = nearest(task)
    if read_recipe(method, task.name) or not read_recipe(method, like):
        return task.name
    LOG.warning(f"method {method} has no recipe for {task.name}, and takes that for {like}, the most similar data")
    return like


def nearest(task: Task) -> str:
    """The known data most like the task's: what it is made of, or by its size.

    That is digits below 16 pixels and for tables, MNIST for grey images, and else CIFAR-10.
    """
    if base := task.name in DATASETS and DATASETS[task.name].made_of:
        return base
    # 16 lies between the sides of digits, 8, and of MNIST, 28.
    return "digits" if max(task.shape[1:]) < 16 else "mnist" if task.shape[0] == 1 else "cifar10"


def read_winners() -> dict[str, dict[str, dict[str, str]]]:
    """Method and reason for each data set and budget."""
    return tomllib.loads((resources.files("attar") / "recipes" / "best.toml").read_text(encoding="utf-8"))
