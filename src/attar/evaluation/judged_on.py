"""The data that sets are judged on, whether they are of it, and what a reader should know of that."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import torch

from attar.condensed.condensed_set import CondensedSet
from attar.data.known_sets import DATASETS
from attar.data.load import Split, load_data
from attar.data.task import Examples, Task, hash_examples
from attar.data.test_part import read_test_part
from attar.evaluation.rows import Row, summarise
from attar.networks.by_name import make_network, usual_network
from attar.wording import budget, make_visible

LOG = logging.getLogger("attar")


def find_task(
    sets: Sequence[CondensedSet],
    data: Any,
    test: Any,
    *,
    network: str | None,
    flip: bool | None,
    split: Split | None,
    name: str | None,
) -> Task:
    """The data with its test part, or with all of the images `test`. The rest is as in `load_data`.

    Without `data`, its training part is empty. Raises `ValueError` where there is neither, or a set does not fit.
    """
    if not sets:
        raise ValueError("evaluation needs at least one set")
    if data is None and test is None:
        raise ValueError("evaluation needs the data that was condensed, or images to test on as test=(x, y)")
    if test is not None and split is not None:
        raise ValueError("test and split both name the test images: leave out one of them")
    if data is None:
        task = describe_data(sets, network, flip, name)
    else:
        task = load_data(data, network=network, flip=flip, split=split, name=name)
    for made in sets:
        check_fits(made, task)
    if test is None:
        return task
    part = read_test_part(test, task.classes, task.shape, task.columns)
    return dataclasses.replace(task, test=part, split=f"{len(part.y):,} images given to test on")


def describe_data(sets: Sequence[CondensedSet], network: str | None, flip: bool | None, name: str | None) -> Task:
    """What sets say of the data they were made from, without an image of it."""
    made, abouts = sets[0], [made.provenance for made in sets]
    own = abouts[0].get("data", "given")
    usual = own in DATASETS and DATASETS[own].flip  # of sets that older versions made
    flips = {about.get("flip", usual) for about in abouts}
    if flip is None and len(flips) > 1:
        raise ValueError("some of the sets may be mirrored, others not: say flip=True or flip=False")
    shape = tuple(made.images.shape[1:])
    none = Examples(torch.empty(0, *shape), torch.empty(0, dtype=torch.int64))
    family = make_network(network or usual_network(shape), shape, len(made.classes))
    mirrors = flips.pop() if flip is None else flip
    facts = none, none, made.classes, made.normalisation, family
    return Task(name or own, *facts, flip=mirrors, columns=made.columns)


def check_fits(made: CondensedSet, task: Task) -> None:
    """Raises `ValueError` where the set is of other classes or shapes than the task."""
    if made.classes != task.classes:
        raise ValueError(
            f"the set's classes {first_few(made.classes)} are not those of {task.name}: {first_few(task.classes)}"
        )
    if made.images.shape[1:] != task.shape:
        raise ValueError(
            f"the set's {task.called}s are {tuple(made.images.shape[1:])}, those of {task.name} {task.shape}"
        )
    if made.columns != task.columns:
        why = "they have other names, or were scaled by another training part"
        raise ValueError(f"the set's columns are not those of {task.name}: {why}")


def first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", … ({len(names)})" if len(names) > 3 else "")


def describe(made: CondensedSet) -> str:
    told = budget(made.ipc, len(made.labels), made.generative)
    return f"the set of {make_visible(made.provenance.get('method', 'given'))}, {told}"


def fingerprints(made: CondensedSet) -> set[str]:
    """Of the training data that the set was made from, as far as it says; shards may be of several."""
    shards = made.provenance.get("shards")
    abouts = shards if isinstance(shards, list) else [made.provenance]
    return {about["fingerprint"] for about in abouts if isinstance(about, dict) and "fingerprint" in about}


def find_fingerprint(made: CondensedSet, task: Task) -> str:
    """Of the data that the set was made from; where it does not say, of the task's. Empty where neither is known."""
    own = fingerprints(made)
    if len(own) == 1:
        return own.pop()
    return task.fingerprint if len(task.train.y) else ""


def warn_of_other_data(sets: Sequence[CondensedSet], task: Task, given: bool) -> None:
    """Say where what a set was made from casts doubt on what it is tested on; `given` is whether that came by itself.

    A set that does not say what it was made from is believed.
    """
    tested = hash_examples(task.test)
    for made in sets:
        if doubt := find_doubt(made, task, tested, given):
            LOG.warning(f"{describe(made)}: {doubt}")


def find_doubt(made: CondensedSet, task: Task, tested: str, given: bool) -> str | None:
    """What a reader should know of the images that the set is tested on, whose hash is `tested`; `None` for nothing."""
    known, name, own = fingerprints(made), make_visible(task.name), made.provenance.get("split")
    if tested in known:
        return "it is tested on the same images that it was made from"
    if not known or not len(task.train.y):
        return None
    if known != {task.fingerprint}:
        told = f"this set was made from other training images than those of this {name}"
        if given or not task.split.startswith("hold-out"):
            return told
        return f"{told}, and its own may be among the test images ({task.split}): test=(x, y) tests on other images"
    if own not in (None, task.split) and not given:
        return f"it is tested on another part ({make_visible(task.split)}) than its data had ({make_visible(own)})"
    return None


def warn_of_unexpected(made: CondensedSet, rows: Sequence[Row]) -> None:
    """Say where the set's rows lie outside the accuracies that its recipe expects.

    That is of the network that it was condensed with: other networks reach other accuracies.
    """
    rows = [row for row in rows if row.network == made.provenance.get("network", row.network)]
    match made.provenance.get("expect"):
        # A band holds for the protocol that it was measured by. A file's own words may lack a part.
        case {"protocol": protocol, "accuracy": [int() | float() as low, int() | float() as high], **expect}:
            for cell in summarise([row for row in rows if row.protocol == protocol]):
                if not low <= cell.mean <= high:
                    source = make_visible(f"{expect.get('source')}: {expect.get('published')}")
                    told = f"accuracy {cell.mean:.1f} is outside the {low} to {high} that its recipe expects ({source})"
                    LOG.warning(f"{describe(made)}: {told}")
