"""One file per method; a method is found by its file's name (`k-center` is `k_center.py`)."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from attar.names import unknown

if TYPE_CHECKING:
    from attar.artefact import CondensedSet
    from attar.run import Run
    from attar.task import Task


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass of hyper-parameters that condenses when called.

    `separable`: each class can be condensed without the others, to the same bits (to rounding, where class scores are taken).
    """

    separable: ClassVar[bool]

    def __call__(self, task: "Task", ipc: int, run: "Run") -> "CondensedSet": ...


def names() -> list[str]:
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def find(name: str) -> type:
    """The one method class of the file. Raises `ValueError` naming the known methods."""
    if name not in names():
        raise ValueError(unknown("method", name, names()))
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    classes = [value for value in vars(module).values() if isinstance(value, type) and hasattr(value, "separable")]
    assert len(classes) == 1, f"{module.__name__} must define exactly one method"
    return classes[0]
