"""Which method, and whose recipe, where the user names none: the best of a race of all on held-out training images."""

import logging
import tomllib
from importlib import resources

from attar.recipe import known, lower, read
from attar.task import Task

LOG = logging.getLogger("attar")
DEFAULT = "m3d"  # where nothing is known


def chosen(task: Task, method: str | None, ipc: int, recipe: str | None) -> tuple[str, str | None]:
    """The method and the recipe as asked, or where no method is named what is best for such data and so many images, which is then logged.

    Of data on which methods were not compared, grey images are taken for MNIST's and others for CIFAR-10's. What is known comes
    from `benchmarks/race.py`: each method's accuracy on a tenth of the training images held out. Raises `ValueError` for an unknown recipe.
    """
    data = known(recipe) if recipe else task.name
    if method is not None:
        return method, recipe
    known_best, nearest = winners(), "mnist" if task.shape[0] == 1 else "cifar10"
    like = data if data in known_best else nearest
    if like not in known_best:
        LOG.warning(f"method {DEFAULT}: no comparison of methods on such data is known")
        return DEFAULT, recipe
    budget, best = lower(known_best[like], ipc)
    LOG.warning(f"method {best['method']}: {best['why']}, on {like}{' (the nearest compared)' * (like != data)} at {budget} per class")
    return best["method"], data if read(best["method"], data) else like


def winners() -> dict[str, dict[str, dict[str, str]]]:
    """Method and reason for each data set and budget."""
    return tomllib.loads((resources.files("attar") / "recipes" / "best.toml").read_text())
