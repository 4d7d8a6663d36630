"""Arguments of public functions, read as their annotations want them before any work."""

import contextlib
import functools
import inspect
import itertools
import operator
import reprlib
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from attar.wording import unknown

P, R = ParamSpec("P"), TypeVar("R")
WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a name", Path: "a path"}
MOST = 100_000  # values of a list
PLURALS = {int: "whole numbers", str: "names"}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, each of whose arguments is what its annotation says.

    NumPy's numbers become Python's, a path is a `Path` without `~`, what stands in a list comes as a list. All
    else that does not fit is a `ValueError` that names the argument.
    """
    signature, hints = inspect.signature(function), get_type_hints(function)
    free = [name for name, given in signature.parameters.items() if given.kind is given.VAR_KEYWORD]

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        bound = signature.bind(*args, **options)
        for name, value in bound.arguments.items():
            if name not in free:  # who takes those checks them
                bound.arguments[name] = read(name, value, hints[name])
        return function(*bound.args, **bound.kwargs)

    return call


def read(name: str, value: Any, hint: Any) -> Any:
    """The value as `hint` wants it. Raises `ValueError` where it is something else."""
    hint = hint.__bound__ if isinstance(hint, TypeVar) else hint
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = tuple(kind for kind in kinds if not (kind is str and Path in kinds))  # text, where it may be, is a path
    for kind in kinds:
        with contextlib.suppress(TypeError):
            return convert(name, value, kind)
    if get_origin(kinds[0]) is Literal:
        raise ValueError(unknown(name, str(value), get_args(kinds[0])))
    expected = " or ".join(describe(kind) for kind in kinds if kind is not NoneType)
    raise ValueError(f"{name} must be {expected}, not {reprlib.repr(value)}")


def convert(name: str, value: Any, kind: Any) -> Any:
    """The value as this one kind. Raises `TypeError` where it is another."""
    origin = get_origin(kind) or kind
    if kind is Any or (origin is Literal and value in get_args(kind)):
        return value
    if kind is int:
        return int(operator.index(value))  # int, as True is its own index
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str | Path):
        return resolve_home(name, Path(value))
    if origin in (Sequence, Iterable) and not isinstance(value, str | bytes):  # a name is no list of letters
        listed = list(itertools.islice(value, MOST + 1))
        if len(listed) > MOST:  # it may be endless
            raise ValueError(f"{name} lists more than {MOST:,} values")
        return [read(name, each, get_args(kind)[0]) for each in listed]
    if origin in (Literal, Sequence, Iterable) or not isinstance(value, origin):
        raise TypeError
    if origin is Callable:
        check_signature(name, value, len(get_args(kind)[0]))
    return value


def check_signature(name: str, function: Callable[..., Any], count: int) -> None:
    """Raises `ValueError` where the function cannot be called with `count` values, as far as Python can tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some that are written in C
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        raise ValueError(f"{name} must be a function of {count} values, not {reprlib.repr(function)}") from None


def resolve_home(name: str, path: Path) -> Path:
    """The path without `~`. Raises `ValueError` naming it where there is no such home, or no file may be called so."""
    if "\0" in str(path):
        raise ValueError(f"{name} is {str(path)!r}, but no path holds a NUL character")
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or none at all
        raise ValueError(f"{name} is {path}, but there is no such home folder") from None


def describe(kind: Any) -> str:
    """One of the kinds that a value may be, in words."""
    origin = get_origin(kind) or kind
    if origin in (Sequence, Iterable):
        return f"a list of {PLURALS.get(get_args(kind)[0], 'these')}"
    article = "an" if origin.__name__[0] in "AEIOU" else "a"
    return "a function" if origin is Callable else WORDS.get(origin, f"{article} {origin.__name__}")
