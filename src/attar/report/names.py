"""What a page calls its sets."""

from typing import Any

from attar.condensed.condensed_set import CondensedSet


def about(made: CondensedSet, name: str, default: Any = None) -> Any:
    return made.provenance.get(name, default)


def method(made: CondensedSet) -> str:
    return about(made, "method", "given")


def key(made: CondensedSet) -> tuple[str, int]:
    return method(made), made.ipc


def title(made: CondensedSet, *, seed: bool = False) -> str:
    drawn = f", seed {about(made, 'seed')}" if seed and about(made, "seed") is not None else ""
    return f"{method(made)}, {made.ipc} per class{drawn}"
