"""Several methods and budgets on the same data, judged alike."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attar.arguments import checked
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, REQUEST, claim
from attar.data.load import Split, load_data
from attar.engine.ambient import plain_torch
from attar.engine.run import Progress, silent
from attar.evaluation.evaluate import evaluate, list_seeds, protocol_by_name
from attar.evaluation.rows import ROWS, Row, read_rows
from attar.methods import find
from attar.runs.condense import condense
from attar.runs.recipe import settle_budget
from attar.runs.run_folder import name_run
from attar.training.protocol import Protocol

Watch = Callable[[str], Progress]


@checked
@plain_torch()
def compare(
    data: Any,
    methods: Sequence[str] = ("m3d", "dm", "random"),
    ipc: Sequence[int] = (1, 10),
    *,
    out: str | Path | None = None,
    protocol: str | Protocol = "dm",
    seeds: int = 3,
    draws: int = 1,
    whole: bool = False,
    network: str | None = None,
    flip: bool | None = None,
    split: Split | None = None,
    name: str | None = None,
    anyway: bool = False,
    watch: Watch = lambda what: silent,
    **engine: Any,
) -> tuple[list[CondensedSet], list[Row]]:
    """Condense by every method at every budget, `draws` times, and train `seeds` networks on each set.

    A method that decides how many images it keeps runs once for all budgets.
    `whole` adds networks trained on all training images. With `out`, each set is kept in a folder of its own there.
    Sets that lie there already are taken as they are. Unfinished ones are resumed, with `anyway` also on another
    engine, whose bits differ. Every name is checked before the first run begins. `watch(what)` gives the progress of
    one part; `engine` is `device`, `precision` and `compile`; the rest is as in `attar.condense`. Raises
    `ValueError` for a folder of other files.
    """
    for method in methods:
        find(method)
    check_generators(methods, protocol_by_name(protocol), whole)
    list_seeds(seeds)
    if not methods or not ipc:
        raise ValueError("a comparison needs at least one method and one budget")
    for option, value in (("draws", draws), ("seeds", seeds), ("ipc", min(ipc))):
        if value < 1:
            raise ValueError(f"{option} must be at least 1, not {value}")
    if out is not None:
        out = Path(out)
        claim(out, (ROWS, f"*/{MANIFEST}", f"*/{REQUEST}"))
        read_rows(out / ROWS)  # now, if they are damaged
    task = load_data(data, network=network, flip=flip, split=split, name=name)  # once for all
    sets = []
    for method in methods:
        budgets = ipc if settle_budget(method, None) is not None else [None]
        for budget in budgets:
            for seed in range(draws):
                called = name_run(method, budget, seed)
                folder = out / called if out is not None else None
                begun = folder is not None and any((folder / file).exists() for file in (MANIFEST, REQUEST))
                kept: dict[str, Any] = {"out": folder, "resume": begun, "anyway": anyway}
                made = condense(task, method, budget, seed=seed, progress=watch(called), **kept, **engine)
                sets.append(made)
    judged = [*sets, CondensedSet.whole(task)] if whole else sets
    rows = evaluate(judged, task, protocol=protocol, seeds=seeds, out=out, progress=watch("evaluation"), **engine)
    return sets, rows


def check_generators(methods: Sequence[str], protocol: Protocol, whole: bool) -> None:
    """Raises `ValueError` where a protocol draws images of generators, and what is compared has none."""
    others = [method for method in methods if not getattr(find(method), "generative", False)]
    others += ["the whole set"] if whole else []
    if protocol.fresh and others:
        raise ValueError(f"the protocol {protocol.name} draws images of a generator, which {others[0]} does not give")
