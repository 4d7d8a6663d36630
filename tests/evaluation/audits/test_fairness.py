"""Fairness: DEO against a slow formula and fairlearn, and the floor of a fair classifier against its check values."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import narrow, toy

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.evaluation.audits.fairness import Cells, Fair, check_groups, count_cells, measure, simulate_fair
from attar.rng import Rng
from attar.training.protocol import Protocol


def draw(n: int = 900, classes: int = 3, groups: int = 2, networks: int = 2):
    """Labels, groups and answers, wrong more often the later the class and the group."""
    generator = torch.Generator().manual_seed(0)
    y, group = (torch.randint(most, (n,), generator=generator) for most in (classes, groups))
    right = torch.rand(networks, n, generator=generator) > 0.1 + 0.1 * y + 0.2 * group
    return right, y, group


def test_measures_by_a_slow_formula():
    right, y, group = draw()
    found = measure(count_cells(right, y, group, 3, 2))
    for i, own in enumerate(right.tolist()):
        accuracy = {}
        for c in range(3):
            for a in range(2):
                answers = [
                    r
                    for r, label, place in zip(own, y.tolist(), group.tolist(), strict=True)
                    if label == c and place == a
                ]
                accuracy[c, a] = 100 * sum(answers) / len(answers)
        by_class = [
            100 * np.mean([r for r, label in zip(own, y.tolist(), strict=True) if label == c]) for c in range(3)
        ]
        gap = [abs(accuracy[c, 0] - accuracy[c, 1]) for c in range(3)]
        expected = {
            "accuracy": 100 * np.mean(own),
            "DEO max": max(gap),
            "DEO mean": np.mean(gap),
            "worst group": min(accuracy.values()),
            "worst class": min(by_class),
            "class gap": max(by_class) - min(by_class),
            "class deviation": np.std(by_class),
        }
        assert {name: values[i].item() for name, values in found.items()} == pytest.approx(expected, abs=1e-9)


def test_a_classifier_that_goes_by_the_group_alone_is_as_unfair_as_can_be():
    y, group = torch.arange(3).repeat_interleave(3), torch.arange(3).repeat(3)
    found = measure(count_cells((y == group)[None], y, group, 3, 3))
    assert [found[name].item() for name in ("DEO max", "DEO mean", "worst group", "class gap")] == [100, 100, 0, 0]


def test_deo_is_the_largest_and_the_mean_difference_that_fairlearn_finds():
    """fairlearn takes two classes: so each against the others, as in the protocol of FairDD."""
    metrics = pytest.importorskip("fairlearn.metrics")
    right, y, group = draw(networks=1)
    answers = torch.where(right[0], y, (y + 1) % 3)
    each = [
        100
        * metrics.equal_opportunity_difference(
            (y == c).numpy(), (answers == c).numpy(), sensitive_features=group.numpy()
        )
        for c in range(3)
    ]
    found = measure(count_cells(right, y, group, 3, 2))
    assert found["DEO max"].item() == pytest.approx(max(each), abs=1e-9)
    assert found["DEO mean"].item() == pytest.approx(np.mean(each), abs=1e-9)


@pytest.mark.parametrize(
    ("accuracy", "classes", "groups", "count", "most", "mean"),
    [
        (95, 10, 10, 100, 9.5, 6.6),
        (78, 10, 10, 100, 18.1, 12.7),
        (61, 10, 2, 500, 5.8, 2.5),
        (69, 2, 2, 1000, 2.3, 1.7),
    ],
)
def test_the_floor_of_a_fair_classifier(accuracy, classes, groups, count, most, mean):
    counts = torch.full((classes, groups), count)
    cells = Cells(counts[None] * accuracy / 100, counts)
    floor = simulate_fair(cells, Rng.of(0))
    assert floor["DEO max"].shape == (1, 2000)
    assert floor["DEO max"].mean().item() == pytest.approx(most, abs=0.15)
    assert floor["DEO mean"].mean().item() == pytest.approx(mean, abs=0.15)


def test_the_floor_is_what_fair_answers_measure():
    """A fair classifier's own DEO lies in the middle of its floor, whatever the sizes of the groups."""
    counts = torch.tensor([[40, 160], [100, 100], [300, 20]])
    y = torch.arange(3).repeat_interleave(counts.sum(1))
    group = torch.cat([torch.arange(2).repeat_interleave(own) for own in counts])
    right = torch.rand(500, len(y), generator=torch.Generator().manual_seed(1)) < 0.8
    cells = count_cells(right, y, group, 3, 2)
    assert torch.equal(cells.images, counts)
    found, floor = measure(cells), simulate_fair(cells, Rng.of(1), draws=20)
    for name in ("DEO max", "DEO mean"):
        assert found[name].mean().item() == pytest.approx(floor[name].mean().item(), rel=0.05)


def grouped(task: Task, sides: tuple[str, ...] = ("left", "right")) -> Task:
    """The toy with groups that take turns, the second of which has its classes' bands turned upside down."""
    parts = {}
    for name, part in (("train", task.train), ("test", task.test)):
        group = torch.zeros_like(part.y)
        for c in range(len(task.classes)):
            rows = (part.y == c).nonzero()[:, 0]
            group[rows] = torch.arange(len(rows)) % len(sides)
        x = torch.where((group == 1)[:, None, None, None], part.x.flip(2), part.x)
        parts[name] = dataclasses.replace(part, x=x, group=group)
    return dataclasses.replace(task, **parts, groups=sides)


def test_a_group_that_looks_otherwise_is_found_and_beside_it_stand_the_controls(tmp_path):
    task = narrow(grouped(toy(counts=(40, 40, 40), contrast=0.6)))
    upright = task.train.group == 0
    chosen = torch.cat([((task.train.y == c) & upright).nonzero()[:8, 0] for c in range(3)])
    made = CondensedSet.selected(task, chosen)
    protocol = Protocol("brief", "for tests", 60, 64, "half", lr=0.1)
    rows = attar.audit(made, task, fair=True, protocol=protocol, seeds=2, out=tmp_path / "out")
    found = {(row.method, row.name): row for row in rows}
    assert {method for method, _ in found} == {"given", "random", "whole set"}
    assert found["given", "DEO max"].value > found["whole set", "DEO max"].value
    beyond = found["given", "DEO max, beyond the whole set"]
    assert beyond.value == pytest.approx(found["given", "DEO max"].value - found["whole set", "DEO max"].value)
    assert ("whole set", "DEO max, beyond the whole set") not in found
    fair = found["given", "DEO max of a fair classifier"]
    assert fair.low < fair.value < fair.high and fair.unit == "points" and fair.tested == 60 and fair.networks == 2
    assert found["whole set", "accuracy"].unit == "%" and found["whole set", "accuracy"].low is None
    assert attar.audit(made, task, fair=True, protocol=protocol, seeds=2, out=tmp_path / "out") == rows


def test_what_has_no_groups_is_refused():
    with pytest.raises(ValueError, match="toy has no groups to compare: name a column, or give labels"):
        check_groups(toy())
    with pytest.raises(ValueError, match="toy has no groups to compare"):
        attar.audit(CondensedSet.whole(toy()), toy(), fair=Fair())


def test_a_class_without_test_images_of_a_group_is_refused():
    task = grouped(toy())
    group = torch.where(task.test.y == 1, 0, task.test.group)
    lacking = dataclasses.replace(task, test=dataclasses.replace(task.test, group=group))
    with pytest.raises(ValueError, match="class 'b' has no test image of the group 'right', to compare with others"):
        check_groups(lacking)
