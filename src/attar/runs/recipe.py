"""Hyper-parameters as data: a dataclass's defaults, then a recipe's, then its budget's, then the caller's.

What was published for one data set in particular comes first in its recipe. What Attar does differently, to be faster,
is on top.
"""

import dataclasses
import logging
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from numbers import Integral
from types import NoneType, UnionType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from attar.data.task import Task
from attar.data.whitening import LARGEST as LARGEST_WHITENED
from attar.methods import Method, find, list_names
from attar.wording import unknown

VERSION = 1  # of the format of recipes
LARGEST = 1 << 63  # what tensors and loops count below
TOY = "toy"
PLAIN = {"factor": 1, "augment": "", "cutmix": 0.0, "zca": False}  # what methods do with rows of a table
BUDGET = 10  # images a class, where no number is asked for
SECTIONS = ("version", "about", "like", "published", "defaults", "ipc", "expect")


@dataclass(frozen=True)
class Resolved:
    """A method ready to run, and where its values come from."""

    method: Method
    sources: tuple[str, ...]
    expect: dict[str, Any] = field(default_factory=dict)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return dict(vars(self.method))


def settle_budget(method: str | None, ipc: int | None) -> int | None:
    """The images a class that a run is asked for: `ipc`, or 10. None for a method whose images decide their number.

    Raises `ValueError` where one is asked for all the same, or the method is unknown.
    """
    if method is None or not getattr(find(method), "decides_budget", False):
        return BUDGET if ipc is None else ipc
    if ipc is not None:
        raise ValueError(f"{method} decides how many images it keeps: leave ipc out, not {ipc}")
    return None


def resolve(method: str, data: str, ipc: int | None, settings: Mapping[str, Any], published: bool = False) -> Resolved:
    """`method` for `data` at `ipc` images a class, with the caller's `settings` on top.

    `published` keeps to the paper's. A budget between two of the recipe's takes the lower one's values. Raises
    `ValueError` for an unknown method or key, a value of the wrong type, or a budget below 1.
    """
    if ipc is not None and (not isinstance(ipc, Integral) or ipc < 1):  # Integral, as NumPy's whole numbers are no int
        raise ValueError(f"the budget must be a whole number of images per class, at least 1, not {ipc!r}")
    cls = find(method)
    recipe = read_recipe(method, data)
    values: dict[str, Any] = {}
    sources = [f"{cls.__name__} defaults"]
    paper = dict(recipe.get("published", {}))  # its values stand in the table itself: brought into a recipe's shape
    layers = [(f"published for {data}", {"ipc": paper.pop("ipc", {}), "defaults": paper})]
    like = f", as for {recipe['like']}" if "like" in recipe else ""
    layers += [] if published else [(f"recipe {method}/{data}{like}", recipe)]
    for source, layer in layers:
        own, (budget, tables) = layer.get("defaults", {}), lower_budget(layer.get("ipc", {}), ipc)
        values |= own | tables
        if own or tables:
            sources.append(source if budget is None else f"{source}, its values for {budget} images per class")
    if settings:
        values |= settings
        sources.append("the caller's settings")
    # A band was measured with the recipe's own values.
    expect = {} if published or settings else recipe.get("expect", {}).get(str(ipc), {})
    return Resolved(cls(**check_settings(cls, values)), tuple(sources), expect)


def fit_tiles(resolved: Resolved, task: Task, ipc: int | None) -> Resolved:
    """The method with fewer tiles, where its own want more real images than the smallest class has; which is logged."""
    method: Any = resolved.method
    if ipc is None or not hasattr(method, "factor") or getattr(method, "init", "noise") == "noise":
        return resolved
    most = task.most_tiles(ipc)
    if not 0 < most < method.factor:
        return resolved
    told = (
        f"factor {most}, not {method.factor}: the smallest class has too few images ({task.fewest}) for {ipc} per class"
    )
    logging.getLogger("attar").warning(told)
    # What a recipe expects was measured with its own tiles.
    return Resolved(dataclasses.replace(method, factor=most), (*resolved.sources, told), {})


def suit(resolved: Resolved, task: Task, settings: Mapping[str, Any]) -> Resolved:
    """The method without what this data cannot have, whatever its recipe says.

    Raises `ValueError` where the caller's `settings` ask for it.
    """
    plain, why = unsuited(task)
    changes = {name: value for name, value in plain.items() if getattr(resolved.method, name, value) != value}
    for name, value in changes.items():
        if name in settings:
            raise ValueError(f"{name} is {settings[name]!r}, but {why}: {name}={value!r} suits them")
    if not changes:
        return resolved
    told = f"{', '.join(f'{name}={value!r}' for name, value in changes.items())}, because {why}"
    if task.columns is None:  # of a table everyone expects it
        logging.getLogger("attar").warning(told)
    method = dataclasses.replace(cast(Any, resolved.method), **changes)
    return Resolved(method, (*resolved.sources, told), {})


def unsuited(task: Task) -> tuple[dict[str, Any], str]:
    """The values that settings must have for this data, and why."""
    if task.columns is not None:
        return PLAIN, "rows of a table hold no tiles, and are neither augmented nor whitened"
    if math.prod(task.shape) > LARGEST_WHITENED:
        return {"zca": False}, f"images of more than {LARGEST_WHITENED:,} numbers are not whitened"
    return {}, ""


def lower_budget(tables: Mapping[str, Any], ipc: int | None) -> tuple[int | None, dict[str, Any]]:
    """The greatest budget that is not above `ipc`, or the least one where all are above; and the values for it.

    Nothing where there is no `ipc`.
    """
    if ipc is None:
        return None, {}
    budgets = sorted(int(n) for n in tables)
    budget = max((n for n in budgets if n <= ipc), default=budgets[0] if budgets else None)
    return budget, {} if budget is None else tables[str(budget)]


def check_data(data: str) -> str:
    """The name itself. Raises `ValueError` where no method has a recipe for it."""
    list_names = sorted({data for _, data, _ in list_shipped()})
    if data not in list_names:
        raise ValueError(unknown("recipe", data, list_names))
    return data


def read_recipe(method: str, data: str) -> dict[str, Any]:
    """The recipe shipped for a method and a data set; empty where there is none.

    A recipe that is `like` another data set's takes over what Attar does there. What was published stays its own.
    """
    path = resources.files("attar") / "recipes" / method / f"{data}.toml"
    if not path.is_file():
        return {}
    recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    if recipe.get("version") != VERSION:
        told = f"recipe {method}/{data} has version {recipe.get('version')}"
        raise ValueError(f"{told}; this attar reads version {VERSION}")
    for section in recipe:
        if section not in SECTIONS:
            raise ValueError(unknown(f"section of recipe {method}/{data}", section, SECTIONS))
    shared = read_recipe(method, recipe["like"]) if "like" in recipe else {}
    # Not what was published or is expected: both were measured on the other data.
    return {key: shared[key] for key in ("defaults", "ipc") if key in shared} | recipe


def list_shipped() -> list[tuple[str, str, dict[str, Any]]]:
    """Every recipe for users as (method, data, content): those for toys are the tests' own."""
    root = resources.files("attar") / "recipes"
    folders = [(method, root / method) for method in list_names() if (root / method).is_dir()]
    found = [(method, file.name.removesuffix(".toml")) for method, folder in folders for file in folder.iterdir()]
    return [(method, data, read_recipe(method, data)) for method, data in sorted(found) if data != TOY]


def check_settings(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the dataclass wants them. Raises `ValueError` naming key, value and what was expected."""
    hints = get_type_hints(cls)
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    known = list(defaults)
    for key in values:
        if key not in known:
            raise ValueError(refusal(cls, key, known))
    return {key: check_value(key, value, hints[key], defaults[key]) for key, value in values.items()}


def refusal(cls: type, key: str, known: list[str]) -> str:
    """Why the class has no such hyper-parameter."""
    retired = getattr(cls, "retired", {})
    if key in retired:
        return f"{cls.__name__} no longer has the hyper-parameter {key!r}: {retired[key].instead}"
    if not known:
        return f"{cls.__name__} has no hyper-parameters, so no {key!r}"
    return unknown(f"hyper-parameter of {cls.__name__}", key, known)


def check_value(key: str, value: Any, hint: Any, default: Any) -> Any:
    """The value as `hint` wants it: one of the choices, or a finite number.

    Whole numbers count from 1, or from 0 where the default is 0; others from 0.
    """
    if get_origin(hint) is UnionType:  # a number or `None`, which leaves it to the method
        (inner,) = (one for one in get_args(hint) if one is not NoneType)
        return None if value is None else check_value(key, value, inner, default)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(unknown(f"value for {key}", str(value), map(str, get_args(hint))))
        return value
    if type(value) is int and abs(value) >= LARGEST:  # not shown: Python writes no number of so many digits
        raise ValueError(f"{key} is a whole number of more than 63 bits, which no hyper-parameter takes")
    if hint is float and type(value) is int:  # people write 1 for 1.0
        return float(value)
    if type(value) is not hint:  # not isinstance, by which True is a whole number
        raise ValueError(f"{key} must be of type {hint.__name__}, not {value!r}")
    least = {int: 0 if default == 0 else 1, float: 0}.get(hint)
    if least is not None and not least <= value < math.inf:
        raise ValueError(f"{key} must be a number of at least {least}, not {value!r}")
    return value


def parse_setting(setting: str) -> tuple[str, Any]:
    """`key=value` of a command line; the value as TOML reads it, or else as text."""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ValueError(f"a setting is written key=value, not {setting!r}")
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # as in `init=mix`: a shell takes quotes away; or of too many brackets
        return key, text
