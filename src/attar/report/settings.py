"""How a set was made: every setting, as a page lists them."""

from collections.abc import Iterator, Mapping
from typing import Any

from attar.condensed.card import brief, tell_steps
from attar.condensed.condensed_set import CondensedSet
from attar.wording import duration, size


def list_settings(made: CondensedSet) -> list[tuple[str, str]]:
    """Every entry of the provenance, those of its parts by their path."""
    eight_bit = f", {size(made.bytes['eight_bit'])} at 8 bit" if made.columns is None else ""
    whitening = f", {size(made.bytes['whitening'])} to whiten" if made.bytes["whitening"] else ""
    took = f"{size(made.bytes['stored'])} stored{eight_bit}{whitening}"
    facts = {
        f"{made.called}s": f"{len(made.labels)} stored, {len(made.decoded_labels())} decoded",
        "bytes": took,
        "factor": made.factor,
        "space": made.space,
        **made.normalisation.entries,
        **({} if made.step_size is None else {"step size": made.step_size}),
        **({} if made.steps is None else {"steps": tell_steps(made.steps)}),
    }
    return list(flatten_entries(facts | made.provenance))


def flatten_entries(entries: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from flatten_entries(value, f"{prefix}{name} · ")
        elif name == "seconds" and isinstance(value, int | float):
            yield prefix + name, duration(float(value))
        else:
            yield prefix + name, brief(value)
