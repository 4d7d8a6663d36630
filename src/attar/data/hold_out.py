"""A test part held out of the examples, where none came with them."""

import numpy as np
from torch import Tensor

from attar.data.on_disk import as_tensor, gather_rows, pieces
from attar.data.task import Examples


def hold_out(whole: Examples, classes: tuple[str, ...], share: float) -> tuple[Examples, Examples, str]:
    """Training part, test part and what became of them.

    Every class has its share of the test part, and at least one example there. Raises `ValueError` where a class has a
    single example.
    """
    counts = whole.y.bincount()
    if counts.min() < 2:
        raise ValueError(
            f"class {classes[int(counts.argmin())]!r} has a single example; a test part held out of it needs two"
        )
    rng = np.random.default_rng(0)  # never the run's seed: all runs are tested on the same images
    rows = [rng.permutation(np.flatnonzero(whole.y.numpy() == c)) for c in range(len(classes))]
    cuts = [max(1, round(share * len(row))) for row in rows]
    # In the order of the examples, in which a file is read forwards.
    held = np.sort(np.concatenate([row[:n] for row, n in zip(rows, cuts, strict=True)]))
    kept = np.setdiff1d(np.arange(len(whole.y)), held)
    groups = [None if whole.group is None else whole.group[part] for part in (kept, held)]
    train, test = (
        Examples(take_rows(whole.x, part), whole.y[part], group)
        for part, group in zip((kept, held), groups, strict=True)
    )
    return train, test, f"hold-out: {100 * len(held) / len(whole.y):.0f} % of the given examples, stratified"


def take_rows(x: Tensor, rows: np.ndarray) -> Tensor:
    """The rows `x[rows]`, never more of them in memory than `gather_rows` keeps there."""
    return as_tensor(gather_rows((x.numpy()[rows[some]] for some in pieces(x[: len(rows)])), len(rows)))
