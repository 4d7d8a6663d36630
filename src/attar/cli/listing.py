"""What there is, a name and a line about it each."""

from collections.abc import Iterator

from attar.data.known_sets import DATASETS
from attar.data.load import READERS
from attar.methods import describe, list_names
from attar.networks.by_name import ARCHITECTURES
from attar.runs.recipe import list_shipped, resolve
from attar.training.protocol import PROTOCOLS


def list_methods() -> Iterator[tuple[str, str]]:
    for name in list_names():
        yield name, describe(name)


def list_datasets() -> Iterator[tuple[str, str]]:
    for name, known in DATASETS.items():
        yield name, known.about
    for prefix, reader in READERS.items():
        yield f"{prefix}:{reader.place}", reader.about


def list_networks() -> Iterator[tuple[str, str]]:
    for name, cls in ARCHITECTURES.items():
        yield name, (cls.__doc__ or "").partition("\n")[0]
    yield "file.py:Name", "a module of yours, called as Name(shape, classes)"


def list_protocols() -> Iterator[tuple[str, str]]:
    for name, protocol in PROTOCOLS.items():
        yield name, protocol.about


def list_recipes() -> Iterator[tuple[str, str]]:
    """Below each, by images a class, its values and in brackets the published ones."""
    for method, data, content in list_shipped():
        yield f"{method}/{data}", content.get("about", "")
        differences: dict[str, list[str]] = {}
        # The budgets that papers report, and those with values of their own.
        for ipc in sorted({1, 10, 50} | {int(budget) for budget in content.get("ipc", {})}):
            differences.setdefault(describe_differences(method, data, ipc), []).append(str(ipc))
        for told, budgets in differences.items():
            yield f"  at {', '.join(budgets)}", told


def describe_differences(method: str, data: str, ipc: int) -> str:
    """What a recipe does differently, each value with the published one behind it."""
    ours, published = (resolve(method, data, ipc, {}, published=kind).hyperparameters for kind in (False, True))
    return ", ".join(f"{key} {value} ({published[key]})" for key, value in ours.items() if value != published[key])


LISTS = {
    "methods": list_methods,
    "datasets": list_datasets,
    "networks": list_networks,
    "protocols": list_protocols,
    "recipes": list_recipes,
}
