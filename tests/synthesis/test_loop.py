import json

import pytest
import torch
from torch import nn

from attar.engine.run import Run
from attar.rng import Rng
from attar.synthesis.loop import Synthetic, Terms, optimise
from attar.synthesis.optimisers import SCHEDULES
from attar.synthesis.pixels import Pixels


class Point(nn.Module):
    def __init__(self, *values: float):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def noisy(syn, rng):
    for t in range(3):
        target = torch.randn(len(syn.x), generator=rng.fold(t).generator(), dtype=torch.float64)
        yield [(syn.x - target).square().sum(), syn.x.sum()]


def descend(run, updates=10, episode=noisy, schedule=None, state=None, momentum=0.9):
    syn = Point(1.0, -2.0)
    opt = torch.optim.SGD(syn.parameters(), lr=0.1, momentum=momentum)
    return optimise(episode, syn, opt, updates=updates, run=run, schedule=schedule, state=state)


def interrupt(update, error=KeyboardInterrupt):
    """The progress of a run that stops after so many updates."""

    def progress(done, total, loss):
        if done == update:
            raise error

    return progress


def test_terms_add_up():
    syn = Point(3.0)
    opt = torch.optim.SGD(syn.parameters(), lr=1.0)
    optimise(lambda s, r: iter([[s.x.sum(), 2 * s.x.sum()]]), syn, opt, updates=1, run=Run(Rng.of(0)))
    assert syn.x.item() == 0.0


def test_terms_may_be_a_function_of_tensors():
    def function(target, syn):
        yield (syn.x - target).square().sum()
        yield syn.x.sum()

    def episode(syn, rng):
        for t in range(3):
            target = torch.randn(len(syn.x), generator=rng.fold(t).generator(), dtype=torch.float64)
            yield Terms(function, (target, syn))

    assert torch.equal(descend(Run(Rng.of(0)), episode=episode).x, descend(Run(Rng.of(0))).x)


def test_interrupted_anywhere_goes_on_to_the_same_bits(tmp_path):
    whole = descend(Run(Rng.of(0), tmp_path / "whole")).x
    for at in range(1, 11):
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            descend(Run(Rng.of(0), folder, progress=interrupt(at)))
        assert torch.equal(descend(Run(Rng.of(0), folder)).x, whole)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["update"] for line in lines] == list(range(10))


def test_declared_state_is_resumed(tmp_path):
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", torch.zeros((), dtype=torch.float64))

    def counting(state):
        def episode(syn, rng):
            for _ in range(2):
                state.n += 1
                yield [(syn.x * state.n).sum()]

        return episode

    def go(folder, **options):
        state = Counter()
        return descend(Run(Rng.of(0), folder, **options), 7, counting(state), state=state).x

    with pytest.raises(RuntimeError, match="stop"):
        go(tmp_path / "parts", progress=interrupt(5, RuntimeError("stop")))
    assert torch.equal(go(tmp_path / "parts"), go(tmp_path / "whole"))


def test_yielding_inside_no_grad_is_refused():
    def episode(syn, rng):
        with torch.no_grad():
            yield [syn.x.sum()]

    with pytest.raises(AssertionError, match="no_grad"):
        descend(Run(Rng.of(0)), episode=episode)


def test_an_episode_without_an_update_is_refused():
    with pytest.raises(AssertionError, match="must yield an update"):
        descend(Run(Rng.of(0)), episode=lambda syn, rng: iter(()))


def test_adam_resumes_too(tmp_path):
    def go(folder, **options):
        syn = Point(1.0, -2.0)
        opt = torch.optim.Adam(syn.parameters(), lr=0.1)
        return optimise(noisy, syn, opt, updates=9, run=Run(Rng.of(0), folder, **options)).x

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "parts", progress=interrupt(5))
    assert torch.equal(go(tmp_path / "parts"), go(tmp_path / "whole"))


def test_after_so_many_updates_the_step_is_the_schedules_share_of_it():
    syn = Point(0.0)
    opt = torch.optim.SGD(syn.parameters(), lr=2.0)
    run = Run(Rng.of(0))
    optimise(lambda s, r: iter([[s.x.sum()]]), syn, opt, updates=3, run=run, schedule=lambda done: float(done))
    assert syn.x.item() == -6.0


class Two(nn.Module):
    """Two things that are learned at a pace of their own."""

    def __init__(self):
        super().__init__()
        self.slow, self.fast = nn.Parameter(torch.zeros(2).double()), nn.Parameter(torch.zeros(2).double())


def pulled(syn, rng):
    for t in range(3):
        target = torch.randn(2, generator=rng.fold(t).generator(), dtype=torch.float64)
        yield [(syn.slow - target).square().sum() + (syn.fast - target).square().sum()]


def at_two_paces(run, schedule, updates=10):
    syn = Two()
    groups = [{"params": [syn.slow], "lr": 0.01}, {"params": [syn.fast], "lr": 0.2}]
    optimise(pulled, syn, torch.optim.SGD(groups, momentum=0.5), updates=updates, run=run, schedule=schedule)
    return syn


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_scales_the_step_of_each_parameter_group(name):
    syn, schedule = at_two_paces(Run(Rng.of(0)), SCHEDULES[name](10)), SCHEDULES[name](10)
    for lr, found in ((0.01, syn.slow), (0.2, syn.fast)):
        x = velocity = torch.zeros(2, dtype=torch.float64)
        for done in range(10):
            rng = Rng.of(0).fold("episode", done // 3).fold(done % 3)
            gradient = 2 * (x - torch.randn(2, generator=rng.generator(), dtype=torch.float64))
            velocity = 0.5 * velocity + gradient
            x = x - lr * schedule(done) * velocity
        torch.testing.assert_close(found.detach(), x)


def test_groups_with_a_schedule_resume_to_the_same_bits(tmp_path):
    whole, schedule = at_two_paces(Run(Rng.of(0)), SCHEDULES["cosine"](10)), SCHEDULES["cosine"](10)
    for at in (2, 5, 9):
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            at_two_paces(Run(Rng.of(0), folder, progress=interrupt(at)), schedule)
        resumed = at_two_paces(Run(Rng.of(0), folder), schedule)
        assert torch.equal(resumed.slow, whole.slow) and torch.equal(resumed.fast, whole.fast)


def test_pixels_are_what_the_loop_learns(task):
    assert isinstance(Pixels.start(task, 1, Run(Rng.of(0))), Synthetic)
    assert not isinstance(Point(1.0), Synthetic)
