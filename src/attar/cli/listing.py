"""What there is, a name and a line about it each."""

from collections.abc import Callable, Iterator
from typing import Any

from attar.data.known_sets import DATASETS
from attar.data.readers import READERS
from attar.methods import describe, list_names
from attar.networks.by_name import ARCHITECTURES, OTHERS
from attar.runs.recipe import list_shipped, resolve
from attar.training.protocol import PROTOCOLS
from attar.wording import unknown


def list_methods() -> Iterator[tuple[str, str]]:
    for name in list_names():
        line, *more = describe(name).split("\n")
        yield name, line
        yield "", " ".join(more).strip()


def list_datasets() -> Iterator[tuple[str, str]]:
    for name, known in DATASETS.items():
        yield name, known.about
    for prefix, reader in READERS.items():
        yield f"{prefix}:{reader.place}", reader.about


def list_networks() -> Iterator[tuple[str, str]]:
    for name, known in ARCHITECTURES.items():
        yield name, known.about
    yield from OTHERS.items()


def list_protocols() -> Iterator[tuple[str, str]]:
    for name, protocol in PROTOCOLS.items():
        yield name, protocol.about


def list_recipes(method: str | None = None, data: str | None = None) -> Iterator[tuple[str, str]]:
    """One line for each recipe, of one method only where that is named. Of one recipe alone, every value."""
    shipped = [known for known in list_shipped() if method in (None, known[0]) and data in (None, known[1])]
    if not shipped:
        raise ValueError(unknown_recipe(method, data))
    for name, known, content in shipped:
        yield f"{name}/{known}", content.get("about", "")
    if data is not None:
        yield from list_values(*shipped[0])


def unknown_recipe(method: str | None, data: str | None) -> str:
    known = list_shipped()
    if method not in (methods := sorted({name for name, _, _ in known})):
        return unknown("method", str(method), methods)
    return unknown(f"data set with a recipe of {method},", str(data), [own for name, own, _ in known if name == method])


def list_values(method: str, data: str, content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each setting at the budgets that papers report and at those with values of their own.

    In brackets is the paper's value where that is another.
    """
    budgets = sorted({1, 10, 50} | {int(budget) for budget in content.get("ipc", {})})
    columns = [tell_values(method, data, budget) for budget in budgets]
    rows = {"images a class": list(map(str, budgets))} | {
        name: [column[name] for column in columns] for name in columns[0]
    }
    widths = [max(len(row[i]) for row in rows.values()) for i in range(len(budgets))]
    for name, row in rows.items():
        yield name, "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True))


def tell_values(method: str, data: str, ipc: int) -> dict[str, str]:
    ours, paper = (resolve(method, data, ipc, {}, published=kind).hyperparameters for kind in (False, True))
    return {name: f"{own}" if own == paper[name] else f"{own} ({paper[name]})" for name, own in ours.items()}


LISTS: dict[str, Callable[..., Iterator[tuple[str, str]]]] = {
    "methods": list_methods,
    "datasets": list_datasets,
    "networks": list_networks,
    "protocols": list_protocols,
    "recipes": list_recipes,
}
