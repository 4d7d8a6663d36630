import dataclasses

import pytest
import torch
from test_loop import Point, noisy

from attar.engine.run import Run
from attar.rng import Rng
from attar.synthesis.average import Average
from attar.synthesis.loop import optimise


def averaged(run, updates, stop=None):
    """Every position after an update, and the running average of them."""
    syn, path = Point(1.0, -2.0), []
    average = Average(lambda: syn.x, 0.8)
    opt = torch.optim.SGD(syn.parameters(), lr=0.1, momentum=0.5)

    def watch(done, total, loss):
        path.append(syn.x.detach().clone())
        if done == stop:
            raise KeyboardInterrupt

    watched = dataclasses.replace(run, progress=watch)
    optimise(average.along(noisy), syn, opt, updates=updates, run=watched, state=average)
    return path, average.value()


def test_the_running_average_weighs_the_recent_more():
    path, value = averaged(Run(Rng.of(0)), 10)
    weights = torch.tensor([0.8 ** (8 - k) for k in range(9)], dtype=torch.float64)  # the last update is not followed
    expected = (weights[:, None] * torch.stack(path[:9])).sum(0) / weights.sum()
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(averaged(Run(Rng.of(0)), 1)[1], averaged(Run(Rng.of(0)), 1)[0][0])


def test_a_resumed_average_is_the_same(tmp_path):
    _, whole = averaged(Run(Rng.of(0)), 12)
    with pytest.raises(KeyboardInterrupt):
        averaged(Run(Rng.of(0), tmp_path), 12, stop=8)
    assert torch.equal(averaged(Run(Rng.of(0), tmp_path), 12)[1], whole)


def test_an_average_that_never_forgets_is_refused():
    with pytest.raises(ValueError, match="average must be below 1, not 1"):
        Average(lambda: torch.zeros(1), 1.0)
