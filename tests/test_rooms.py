"""Imports run one way: from the command line down to what knows nothing of data or networks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import attar

ROOT = Path(attar.__file__).parent
FLOORS = [  # from top to bottom; a module imports from its own floor and from those below
    {"__init__", "__main__"},
    {"cli"},
    {"runs"},
    {"report"},
    {"methods"},
    {"evaluation"},
    {"synthesis"},
    {"training"},
    {"condensed"},
    {"data"},
    {"distances"},
    {"augment"},
    {"networks"},
    {"engine"},
    {"arguments", "rng", "files", "locks", "replacing", "wording"},
]


def modules() -> dict[str, ast.Module]:
    """Every module by its name, with `attar` left out."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = ast.parse(path.read_text())
    return found


def imports(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """The modules of attar that a module imports, also within its functions and for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "attar":
            home = node.module.partition(".")[2]
            for alias in node.names:
                full = f"{home}.{alias.name}".strip(".")
                # A public name is that of the module where it lives.
                yield full if full in known else home or attar._HOMES.get(alias.name, "__init__")
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.partition(".")[2] or "__init__" for alias in node.names if alias.name.startswith("attar")
            )


def floor(module: str) -> int:
    room = module.partition(".")[0]
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_has_a_floor_and_says_in_a_sentence_what_it_is():
    for name, tree in modules().items():
        floor(name)
        assert (ast.get_docstring(tree) or "").strip(), f"{name} does not say what it is"


def test_imports_run_downwards():
    found = modules()
    for name, tree in found.items():
        for other in imports(tree, set(found)):
            assert floor(other) >= floor(name), f"{name} imports {other}, which stands above it"


def test_there_is_no_circle():
    """Not even within a room; what a function imports when it runs, or for types alone, counts too."""
    found = modules()
    edges = {name: set(imports(tree, set(found))) - {name} for name, tree in found.items()}
    edges = {name: {other for other in others if other in found} for name, others in edges.items()}
    while edges:
        free = [name for name, others in edges.items() if not others & edges.keys()]
        assert free, f"these import one another: {', '.join(sorted(edges))}"
        for name in free:
            del edges[name]


def test_methods_know_the_engine_only_by_its_door():
    """How a run is made fast is no business of a method: it sees runs, slices and gradients by hand."""
    doors = {"run", "slices", "by_hand", "device", "precision"}
    found = modules()
    for name, tree in found.items():
        public = name.startswith("methods.") and not name.rpartition(".")[2].startswith("_")
        for other in imports(tree, set(found)) if public else ():
            room, _, part = other.partition(".")
            assert room != "engine" or part in doors, f"{name} imports {other}"
