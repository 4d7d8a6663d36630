"""One file per method, by family; a method is found by its file's name (`k-center` is `k_center.py`)."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from attar.wording import unknown

if TYPE_CHECKING:
    from attar.condensed.condensed_set import CondensedSet
    from attar.data.task import Task
    from attar.engine.run import Run


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass of hyper-parameters that condenses when called.

    `separable`: each class can be condensed without the others, to the same bits (to rounding, where class scores are
    taken). `decides_budget`, where it is true: how many images there are is an outcome, and `ipc` is `None`. A method
    may say more to a plan of its cost: `cycle(ipc)`, the updates after which their cost repeats (else 1), and
    `stages(task, run)`, the `Stage` of networks that it trains first. A method that learns has a field `updates`.
    `takes_generator` is true where it learns codes of a generator. `generative` is true where its result is one.
    """

    separable: ClassVar[bool]

    def __call__(self, task: "Task", ipc: int | None, run: "Run") -> "CondensedSet": ...


def list_names() -> list[str]:
    return sorted(locate_modules())


def locate_modules() -> dict[str, str]:
    """The module of each method: files in the folders of families that do not begin with `_`."""
    families = [family.name for family in pkgutil.iter_modules(__path__) if family.ispkg]
    return {
        file.name.replace("_", "-"): f"{__name__}.{family}.{file.name}"
        for family in families
        for file in pkgutil.iter_modules([f"{path}/{family}" for path in __path__])
        if not file.name.startswith("_")
    }


def find(name: str) -> type:
    """The one method class that the file defines. Raises `ValueError` naming the known methods."""
    known = locate_modules()
    if name not in known:
        raise ValueError(unknown("method", name, sorted(known)))
    module = importlib.import_module(known[name])
    defined = [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    methods = [value for value in defined if hasattr(value, "separable")]
    assert len(methods) == 1, f"{module.__name__} must define exactly one method"
    return methods[0]


def describe(name: str) -> str:
    """What the file of a method says of itself: a line, and what it needs and costs."""
    return importlib.import_module(locate_modules()[name]).__doc__ or ""
