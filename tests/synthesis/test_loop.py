import dataclasses
import json

import pytest
import torch
from torch import nn

from attar.engine.by_hand import with_gradient
from attar.engine.run import Run
from attar.files import read_tensors
from attar.rng import Rng
from attar.synthesis.average import Average
from attar.synthesis.checkpoint import CHECKPOINT
from attar.synthesis.loop import optimise
from attar.synthesis.optimisers import SCHEDULES, once_per_class


class Point(nn.Module):
    def __init__(self, *values: float):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def noisy(syn, rng):
    for t in range(3):
        target = torch.randn(len(syn.x), generator=rng.fold(t).generator(), dtype=torch.float64)
        yield [(syn.x - target).square().sum(), syn.x.sum()]


def descend(run, updates=10, episode=noisy, lr=None, state=None, momentum=0.9):
    syn = Point(1.0, -2.0)
    return optimise(
        episode,
        syn,
        torch.optim.SGD(syn.parameters(), lr=0.1, momentum=momentum),
        updates=updates,
        run=run,
        lr=lr,
        state=state,
    )


def test_one_step_for_all_classes_equals_the_papers_step_per_class():
    """The momentum identity against the literal loop: each class's gradient once, momentum moving all every time."""
    for classes, momentum in ((10, 0.5), (3, 0.9), (4, 0.0)):
        generator = torch.Generator().manual_seed(0)
        target = torch.randn(classes, 5, generator=generator, dtype=torch.float64)
        literal = nn.Parameter(torch.zeros(classes, 5, dtype=torch.float64))
        opt = torch.optim.SGD([literal], lr=0.03, momentum=momentum)
        # The gradients of one outer iteration are all taken where it began: the identity is about the steps.
        ours = nn.Parameter(torch.zeros(classes, 5, dtype=torch.float64))
        lr, mu = once_per_class(0.03, momentum, classes)
        one = torch.optim.SGD([ours], lr=lr, momentum=mu)
        noise = torch.randn(6, classes, 5, generator=generator, dtype=torch.float64)
        for t in range(6):
            for c in range(classes):
                literal.grad = torch.zeros_like(literal)
                literal.grad[c] = noise[t, c] + target[c]
                opt.step()
            ours.grad = noise[t] + target
            one.step()
        # Classes visited early have coasted on since their step; coast the late ones as far.
        reference = ours.detach()
        velocity = opt.state[literal]["momentum_buffer"] if momentum else torch.zeros_like(reference)
        for c in range(classes):
            coasted = sum(momentum**k for k in range(1, c + 1)) * velocity[c] * 0.03
            torch.testing.assert_close(literal.detach()[c] - coasted, reference[c], rtol=1e-12, atol=1e-12)


def test_momentum_of_ten_classes():
    lr, momentum = once_per_class(1.0, 0.5, 10)
    assert lr == pytest.approx(1.998, abs=1e-3) and momentum == pytest.approx(0.000977, abs=1e-6)


def test_terms_add_up():
    syn = Point(3.0)
    optimise(
        lambda s, r: iter([[s.x.sum(), 2 * s.x.sum()]]),
        syn,
        torch.optim.SGD(syn.parameters(), lr=1.0),
        updates=1,
        run=Run(Rng.of(0)),
    )
    assert syn.x.item() == 0.0


def test_interrupted_anywhere_goes_on_to_the_same_bits(tmp_path):
    whole = descend(Run(Rng.of(0), tmp_path / "whole")).x
    for at in range(1, 11):

        def stop(done, total, loss, at=at):
            if done == at:
                raise KeyboardInterrupt

        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            descend(Run(Rng.of(0), folder, progress=stop))
        assert torch.equal(descend(Run(Rng.of(0), folder)).x, whole)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["update"] for line in lines] == list(range(10))


def test_checkpoints_come_by_time_and_between_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr("attar.synthesis.checkpoint.CHECKPOINT_EVERY", 0.0)
    seen = []

    def look(done, total, loss):
        if (tmp_path / CHECKPOINT).exists():
            seen.append((done, read_tensors(tmp_path / CHECKPOINT)[1]["done"]))

    descend(Run(Rng.of(0), tmp_path, progress=look))
    assert seen == [(4, 3), (5, 3), (6, 3), (7, 6), (8, 6), (9, 6), (10, 9)]


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

    def go(folder, progress=None):
        state = Counter()
        options = {"progress": progress} if progress else {}
        return descend(Run(Rng.of(0), folder, **options), 7, counting(state), state=state).x

    def stop(done, total, loss):
        if done == 5:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        go(tmp_path / "parts", stop)
    assert torch.equal(go(tmp_path / "parts"), go(tmp_path / "whole"))


def test_a_loss_that_is_not_finite_is_named_and_never_saved(tmp_path):
    def breaking(syn, rng):
        yield [syn.x.square().sum()]
        yield [syn.x.sum() * (float("inf") if rng.path[-1] == 2 else 1.0)]

    with pytest.raises(ValueError, match=r"the loss became -?inf at update 5: lower the step size"):
        descend(Run(Rng.of(0), tmp_path), episode=breaking)
    tensors, meta = read_tensors(tmp_path / CHECKPOINT)
    assert meta["done"] == 4 and all(t.isfinite().all() for t in tensors.values())


def test_a_gradient_that_is_not_finite_is_named_and_never_saved(tmp_path):
    def root(syn, rng):
        yield [(syn.x - syn.x.detach()).abs().sqrt().sum()]  # 0, with an infinite slope

    with pytest.raises(ValueError, match=r"syn.x became non-finite by update 1"):
        descend(Run(Rng.of(0), tmp_path), episode=root)
    assert read_tensors(tmp_path / CHECKPOINT)[1]["done"] == 0


def test_yielding_inside_no_grad_is_refused():
    def episode(syn, rng):
        with torch.no_grad():
            yield [syn.x.sum()]

    with pytest.raises(AssertionError, match="no_grad"):
        descend(Run(Rng.of(0)), episode=episode)


def test_schedules():
    assert [SCHEDULES["constant"](2.0, 10)(t) for t in (0, 9)] == [2.0, 2.0]
    cosine = SCHEDULES["cosine"](2.0, 10)
    assert cosine(0) == 2.0 and cosine(5) == pytest.approx(1.0) and cosine(10) == pytest.approx(0.0)
    settle = SCHEDULES["settle"](2.0, 10)
    assert [settle(t) for t in (0, 8, 9, 10)] == pytest.approx([2.0, 2.0, 1.0, 0.0])
    syn = Point(0.0)
    opt = torch.optim.SGD(syn.parameters(), lr=99.0)
    optimise(lambda s, r: iter([[s.x.sum()]]), syn, opt, updates=3, run=Run(Rng.of(0)), lr=lambda done: float(done))
    assert syn.x.item() == -3.0


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    descend(Run(Rng.of(0), tmp_path))
    syn = Point(1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="belongs to another run"):
        optimise(noisy, syn, torch.optim.SGD(syn.parameters(), lr=0.1), updates=3, run=Run(Rng.of(0), tmp_path))


def test_adam_resumes_too(tmp_path):
    def go(folder, stop_at=None):
        def stop(done, total, loss):
            if done == stop_at:
                raise KeyboardInterrupt

        syn = Point(1.0, -2.0)
        return optimise(
            noisy, syn, torch.optim.Adam(syn.parameters(), lr=0.1), updates=9, run=Run(Rng.of(0), folder, progress=stop)
        ).x

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "parts", 5)
    assert torch.equal(go(tmp_path / "parts"), go(tmp_path / "whole"))


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


def test_a_gradient_computed_by_hand_takes_the_place_of_autograds():
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    value = with_gradient(x.square().sum((1, 2)), x, 2 * x)
    assert torch.equal(value, x.square().sum((1, 2)))
    assert torch.autograd.gradcheck(
        lambda x: with_gradient(x.square().sum((1, 2)), x, 2 * x) * torch.tensor([1.0, 2.0, 3.0]), x
    )


def test_half_as_much_from_three_points_on():
    step = SCHEDULES["halve"](1.0, 2000)
    assert [step(t) for t in (0, 1199, 1200, 1599, 1600, 1799, 1800, 1999)] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
        0.125,
        0.125,
    ]
