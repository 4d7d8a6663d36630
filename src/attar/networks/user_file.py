"""A network of the user's own file."""

import contextlib
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from torch import nn

from attar.files import hash_file
from attar.wording import in_a_line


@dataclass(frozen=True)
class Loaded:
    """A file as it was imported, and the local modules that it imported."""

    module: ModuleType
    path: Path
    helpers: tuple[Path, ...]
    code: str
    """A hash of all of them."""


LOADED: dict[str, Loaded] = {}  # by their code
HELPERS: set[str] = set()  # names of modules and packages that users' files imported


@dataclass(frozen=True)
class UserFile:
    """Builds a module of a user's file. Unlike a class of that file it can be sent to another process."""

    path: str
    name: str
    shape: tuple[int, ...]
    classes: int
    code: str
    """A hash of the file, and of the modules beside or below it that it imports."""

    @classmethod
    def at(cls, path: Path, name: str, shape: tuple[int, ...], classes: int) -> "UserFile":
        """Raises `ValueError` where there is no such file, or it does not import."""
        if not path.is_file():
            raise ValueError(f"no such file: {path}")
        return cls(str(path), name, shape, classes, load_file(path).code)

    @classmethod
    def named(cls, name: str, shape: tuple[int, ...], classes: int) -> "UserFile":
        """That of `file.py:Name`."""
        file, _, within = name.rpartition(":")
        return cls.at(Path(file).resolve(), within, shape, classes)

    @property
    def label(self) -> str:
        """What was asked for, and which code it was."""
        return f"{self.name}-{self.code[:8]}"

    @property
    def key(self) -> str:
        return f"{self.name} {self.shape} {self.classes} {self.code}"

    def __call__(self) -> nn.Module:
        loaded = LOADED.get(self.code) or load_file(Path(self.path))
        if loaded.code != self.code:
            raise ValueError(f"{self.path}, or a module that it imports, was changed while it was in use")
        if not hasattr(loaded.module, self.name):
            raise ValueError(f"{self.path} has no {self.name}")
        try:
            built = getattr(loaded.module, self.name)(self.shape, self.classes)
        except Exception as error:
            raise ValueError(
                f"{self.name} of {self.path} cannot be called with (shape, classes): {in_a_line(error)}"
            ) from None
        if not isinstance(built, nn.Module):
            raise ValueError(f"{self.name} of {self.path} gives no torch module, but {type(built).__name__}")
        return built


def load_file(path: Path) -> Loaded:
    """The file imported, again where it changed since, or one of its helpers. Raises `ValueError` where it fails."""
    for known in LOADED.values():
        if known.path == path and known.code == hash_code(path, known.helpers):
            return known
    name = f"attar_user_{hash_file(path)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        with importing_from(path.parent):
            spec.loader.exec_module(module)
            helpers = tuple(list_local(path.parent).values())
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ValueError(f"{path} does not import: {in_a_line(error)}") from None
    loaded = Loaded(module, path, helpers, hash_code(path, helpers))
    LOADED[loaded.code] = loaded
    return loaded


def hash_code(path: Path, helpers: tuple[Path, ...]) -> str:
    """Of the file and its helpers, wherever their folder lies. What is gone has no hash."""
    # The network is what all of them say: the same file with another helper is another network, and trained ones in
    # the cache are not its own. A file without helpers has the hash of its content, as it always had.
    if not helpers:
        return hash_file(path)
    named = [(os.path.relpath(file, path.parent), file.is_file() and hash_file(file)) for file in (path, *helpers)]
    return hashlib.sha256(repr([named[0], *sorted(named[1:])]).encode()).hexdigest()


@contextlib.contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Modules beside a user's file can be imported, as they are now, and nothing is written beside them.

    Those imported before are forgotten within the block: one of the same name may have been edited since, or be
    another folder's. Afterwards the new ones stay, and of the others those that no new one replaces.
    """
    gone = find_tops(folder) | HELPERS
    earlier = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in gone}
    importlib.invalidate_caches()
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes
        HELPERS.update(find_tops(folder))
        sys.modules.update({name: module for name, module in earlier.items() if name not in sys.modules})


def find_tops(folder: Path) -> set[str]:
    """Of the local modules, or of the packages that hold them: one without a file of its own has no source to find."""
    return {name.partition(".")[0] for name in list_local(folder)}


def list_local(folder: Path) -> dict[str, Path]:
    """The sources of imported modules that lie in the folder or below, by name; none that are installed, nor Attar."""
    found = {}
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        own = name.partition(".")[0] in ("attar", "__main__", "__mp_main__") or name.startswith("attar_user_")
        if spec is None or own or not spec.has_location or not str(spec.origin).endswith(".py"):
            continue
        source = Path(os.path.realpath(spec.origin))
        if source.is_relative_to(folder) and not is_installed(source):
            found[name] = source
    return found


def is_installed(source: Path) -> bool:
    """Whether it is of Python's own library or in an environment, which may lie below a user's folder."""
    places = {os.path.realpath(place) for place in sysconfig.get_paths().values()}
    return "site-packages" in source.parts or any(source.is_relative_to(place) for place in places)
