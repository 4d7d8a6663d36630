"""A network of the user's own file."""

import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from attar.wording import in_a_line


@dataclass(frozen=True)
class UserFile:
    """Builds a module of a user's file. Unlike a class of that file it can be sent to another process."""

    path: str
    name: str
    shape: tuple[int, ...]
    classes: int
    code: str
    """A hash of the file."""

    @classmethod
    def at(cls, path: Path, name: str, shape: tuple[int, ...], classes: int) -> "UserFile":
        if not path.is_file():
            raise ValueError(f"no such file: {path}")
        return cls(str(path), name, shape, classes, hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def label(self) -> str:
        """What was asked for, and which code it was."""
        return f"{self.name}-{self.code[:8]}"

    @property
    def key(self) -> str:
        return f"{self.name} {self.shape} {self.classes} {self.code}"

    def __call__(self) -> nn.Module:
        key = f"attar_user_{self.code}"
        if key not in sys.modules:
            spec = importlib.util.spec_from_file_location(key, self.path)
            assert spec is not None and spec.loader is not None
            sys.modules[key] = module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except (Exception, SystemExit) as error:
                del sys.modules[key]
                raise ValueError(f"{self.path} does not import: {in_a_line(error)}") from None
        if not hasattr(sys.modules[key], self.name):
            raise ValueError(f"{self.path} has no {self.name}")
        try:
            built = getattr(sys.modules[key], self.name)(self.shape, self.classes)
        except Exception as error:
            raise ValueError(
                f"{self.name} of {self.path} cannot be called with (shape, classes): {in_a_line(error)}"
            ) from None
        if not isinstance(built, nn.Module):
            raise ValueError(f"{self.name} of {self.path} gives no torch module, but {type(built).__name__}")
        return built
