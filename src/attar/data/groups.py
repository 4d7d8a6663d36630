"""A second label of each example, such as its place or its person: its group, by which fairness is measured."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from attar.data.check import Parts, check_labels, check_present, list_some
from attar.data.task import Examples
from attar.data.torch_datasets import is_array
from attar.wording import unknown


def with_groups(parts: Parts, train: Any, test: Any = None) -> Parts:
    """The parts with the groups of their examples: numbers or names, of either part or of both.

    Raises `ValueError` where one lacks, or where there is but one group.
    """
    given = ((parts.train, train, "training"), (parts.test, test, "test"))
    found = [check_groups(own, part, what) for part, own, what in given if part is not None and own is not None]
    if not found:
        raise ValueError("groups are labels of the training examples, of the test examples, or of both")
    names = np.unique(np.concatenate(found))
    if len(names) < 2:
        raise ValueError(f"all examples are of the group {str(names[0])!r}: at least two groups are needed")

    def give(part: Examples, given: Any, what: str) -> Examples:
        if given is None:
            return part
        codes = names.searchsorted(check_groups(given, part, what).astype(names.dtype))
        return dataclasses.replace(part, group=torch.from_numpy(codes).to(part.y.device))

    tested = parts.test and give(parts.test, test, "test")
    return parts._replace(train=give(parts.train, train, "training"), test=tested, groups=tuple(map(str, names)))


def check_groups(values: Any, part: Examples, what: str) -> np.ndarray:
    """A number or a name of the group of each example."""
    told = f"the groups of the {what} examples"
    if isinstance(values, Sequence) and not isinstance(values, str) and None in values:
        raise ValueError(f"{told} lack one, at index {list(values).index(None)}")
    check_present(values, told)
    names = check_labels(values, told)
    if len(names) != len(part.y):
        raise ValueError(f"{told} are {len(names)}, but there are {len(part.y)} examples")
    if names.dtype.kind == "U" and "" in names:
        raise ValueError(f"{told} lack one, at index {int((names == '').argmax())}")
    return names


def split_groups(given: Any) -> tuple[Any, Any]:
    """Groups of the training and of the test examples, of which either may be `None`; a list alone is of the former."""
    pair = isinstance(given, tuple) and len(given) == 2 and all(g is None or is_array(g) for g in given)
    return given if pair else (given, None)


def check_own(name: str, asked: str, own: str) -> None:
    """Raises `ValueError` where a known set, whose groups are `own` if it has any, has none of the name `asked`."""
    if not own:
        raise ValueError(f"{name} has no groups, and so none called {asked}: give their labels as arrays")
    if asked != own:
        raise ValueError(unknown(f"groups of {name}", asked, [own]))


def check_column(asked: str, names: Sequence[str], what: str) -> None:
    """Raises `ValueError` where there is no such column or array of groups."""
    if asked not in names:
        raise ValueError(f"{what} has no {asked!r} with the groups; it has {list_some(list(names), 20)}")
