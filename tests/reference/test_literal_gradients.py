"""Gradient matching against the published loops, plainly written: the same random numbers, in float64, the same losses.

Sources, besides the authors' code: DC (Zhao et al., ICLR 2021), DSA (Zhao & Bilen, ICML 2021), IDC (Kim et al.,
ICML 2022).
"""

import dataclasses
from pathlib import Path

import pytest
import torch

from attar.data.task import Examples
from attar.engine.run import Run
from attar.methods.gradient.dc import DC, epochs_between
from attar.methods.gradient.dsa import DSA
from attar.methods.gradient.idc import IDC
from attar.rng import Rng

SEED = Rng.of(3)


@pytest.fixture(autouse=True)
def literal(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")


def losses(method, task, ipc):
    found = []
    method(task, ipc, Run(SEED, progress=lambda done, total, loss: found.append(loss)))
    return found


@pytest.mark.parametrize("method", [DC, DSA])
def test_images_follow_the_gradients_of_a_network_that_learns_from_them(method, exact):
    from literal.gradients import dc

    method, expected = method(updates=5, ipm=3, inner=2, batch_real=6, batch_train=4, lr=0.05), []
    images = dc(method, exact, 2, SEED, lambda done, total, loss: expected.append(loss))
    assert losses(method, exact, 2) == pytest.approx(expected, rel=1e-10)
    found = method(exact, 2, Run(SEED)).images.unflatten(0, (3, 2))
    torch.testing.assert_close(found, images, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("distance", ["squared", "absolute"])
def test_idc_steps_once_for_all_classes(distance, exact):
    """Between its steps a class drifts on by momentum: so images agree where losses are taken, not at the end."""
    from literal.gradients import idc

    task = dataclasses.replace(exact, train=Examples(0.3 + 0.4 * exact.train.x, exact.train.y))  # far from the clamps
    settings = {"ipm": 3, "examples": 20, "batch_train": 8, "lr": 0.01 if distance == "squared" else 1e-4}
    method, expected = IDC(updates=5, batch_real=6, distance=distance, **settings), []
    idc(method, task, 2, SEED, lambda done, total, loss: expected.append(loss))
    assert losses(method, task, 2) == pytest.approx(expected, rel=1e-10)


def test_the_authors_table_of_epochs_holds_at_its_budgets_and_between_them():
    table = {1: 50, 5: 50, 10: 50, 15: 38, 20: 25, 30: 20, 40: 15, 45: 12, 50: 10, 51: 10, 500: 10}
    assert {ipc: epochs_between(ipc) for ipc in table} == table
    assert [DC().cycle(ipc) for ipc in (1, 7, 50, 100)] == [1, 7, 50, 50]
