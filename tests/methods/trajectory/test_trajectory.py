"""What holds for all methods that match trajectories."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import narrow, toy

from attar.engine.run import Run
from attar.methods.trajectory._student import Rate, Stretch, Student
from attar.methods.trajectory.datm import DATM, find_known
from attar.methods.trajectory.ftd import FTD
from attar.methods.trajectory.mtt import MTT
from attar.networks.weights import Weights, flatten, unflatten
from attar.rng import Rng
from attar.synthesis.pixels import Pixels
from attar.training.train import SGD, train
from attar.training.trajectories import Experts

QUICK = {"experts": 2, "steps": 3, "updates": 4, "latest": 2, "ahead": 1}


@pytest.fixture
def small():
    return narrow(toy(3))


def test_a_student_that_has_not_moved_is_at_1_and_one_that_walks_with_the_expert_at_0(small):
    task = dataclasses.replace(small, flip=False)
    run = Run(Rng.of(0))
    syn = Pixels.start(task, 24, run)  # all of the data
    student = Student.of(task, syn, run, updates=1, steps=4, batch=0, augment="", through="exact")
    w = task.network.init(Rng.of(3))
    (x, y), lr = syn(), torch.tensor(0.05)
    plain = SGD(0.05, momentum=0.0, weight_decay=0.0)
    end, _ = train(task.network, w, x, y, steps=4, optimiser=plain, rng=Rng.of(1), run=run)
    stretch = Stretch(flatten(w.params), flatten(end.params))
    assert student.miss(stretch, x, y, lr, Rng.of(1)).item() < 1e-8
    assert student.miss(stretch, x, y, torch.tensor(1e-30), Rng.of(1)).item() == pytest.approx(1)


def test_stretches_start_where_they_may_and_end_so_many_epochs_later():
    paths = [torch.arange(8.0)[:, None] + 100 * i for i in range(3)]
    drawn = [Stretch.draw(paths, range(2, 5), 3, Rng.of(i)) for i in range(200)]
    assert all(float(one.target - one.start) == 3 for one in drawn)
    assert {float(one.start) for one in drawn} == {i + 100.0 * k for i in (2, 3, 4) for k in range(3)}


def test_the_step_size_moves_as_the_authors_move_it_and_stays_positive():
    rate = Rate(0.01)
    # One step down the derivative 7, at their step 1e-7 on the size itself.
    opt = torch.optim.SGD([rate.log], lr=1e-7 / 0.01**2)
    (7 * rate.value()).backward()
    opt.step()
    assert rate.value().item() == pytest.approx(0.01 - 7e-7, rel=1e-5)
    with torch.no_grad():
        rate.log.fill_(-200.0)
    with pytest.raises(ValueError, match="the learned step size fell to 0: a smaller lr_step keeps it above"):
        rate.value()
    with pytest.raises(ValueError, match="step_size must be above 0"):
        MTT(**QUICK, step_size=0.0)(narrow(toy(3)), 1, Run(Rng.of(0)))


@pytest.mark.parametrize("method", [MTT, FTD])
def test_the_loss_is_the_distance_after_plain_steps(method, small):
    """By a slow loop of steps on the images as they start, without augmentation."""
    losses, run = [], Run(Rng.of(0), progress=lambda done, total, loss: losses.append(loss))
    made = method(**QUICK, augment="", lr=0.0, lr_step=0.0)
    found = made(small, 2, run)
    task = small.whitened()
    paths = made.plan_experts().load(task, Run(Rng.of(0)))
    syn = Pixels.start(task, 2, Run(Rng.of(0)))
    fresh = task.network.init(Rng.of(0))
    shapes = {name: p.shape for name, p in fresh.params.items()}
    for i, loss in enumerate(losses[-4:]):
        drawn = Stretch.draw(paths, range(2), 1, Rng.of(0).fold("episode", i).fold("expert"))
        stretch = Stretch(*(p.float() for p in drawn))
        params = unflatten(stretch.start, shapes)
        for _ in range(3):
            params = {name: p.detach().requires_grad_() for name, p in params.items()}
            value = F.cross_entropy(task.network.logits(Weights(params, fresh.buffers), syn()[0])[0], syn()[1])
            grads = torch.autograd.grad(value, list(params.values()))
            params = {name: p - 0.01 * grad for (name, p), grad in zip(params.items(), grads, strict=True)}
        assert loss == pytest.approx(stretch.distance(flatten(params)).item(), rel=1e-4)
    assert found.step_size == pytest.approx(0.01)
    torch.testing.assert_close(found.images, syn.images.detach().flatten(0, 1))


def test_flat_experts_are_other_experts_and_the_pixels_are_averaged(small):
    assert MTT(**QUICK).plan_experts() != FTD(**QUICK).plan_experts()
    last = MTT(**QUICK, zca=False)(small, 1, Run(Rng.of(0)))
    mean = MTT(**QUICK, zca=False, average=0.9)(small, 1, Run(Rng.of(0)))
    start = Pixels.start(small, 1, Run(Rng.of(0))).images.flatten(0, 1)
    assert (mean.images - start).norm() < (last.images - start).norm()


@pytest.mark.parametrize(
    ("earliest", "first", "latest", "grow"), [(0, 0, 4, 0), (0, 1, 3, 10), (2, 0, 5, 7), (3, 0, 0, 0)]
)
def test_starts_grow_and_never_shrink(earliest, first, latest, grow):
    method = DATM(earliest=earliest, first=first, latest=latest, grow=grow)
    ends = [method.end(done) for done in range(20)]
    assert ends == sorted(ends) and ends[0] > earliest
    assert ends[-1] == max(latest, earliest + 1) and (not grow or ends[grow] == ends[-1])
    assert method.plan_experts().epochs == ends[-1] - 1 + method.ahead


def test_labels_start_as_what_experts_make_of_images_that_they_know(small):
    run = Run(Rng.of(0))
    paths = Experts(2, 3, lr=0.1, batch=8).load(small, run)
    rows, scores = find_known(small, paths, 3, run)
    assert small.train.y[rows].tolist() == [[0] * 3, [1] * 3, [2] * 3]
    fresh = small.network.init(Rng.of(0))
    shapes = {name: p.shape for name, p in fresh.params.items()}
    for c in range(3):
        for row, found in zip(rows[c], scores[c], strict=True):
            own = [
                small.network.scores(Weights(unflatten(path[-1].float(), shapes), {}), small.images(row[None]))[0]
                for path in paths
            ]
            right = [one for one in own if one.argmax() == c] or own
            torch.testing.assert_close(found, torch.stack(right).mean(0), rtol=1e-4, atol=1e-4)


def test_labels_of_datm_are_probabilities_and_travel_with_the_set(small):
    made = DATM(**QUICK, lr=1.0, lr_label=0.1, skip=10.0)(small, 2, Run(Rng.of(0)))
    torch.testing.assert_close(made.soft.sum(1), torch.ones(6))
    assert made.step_size != 0.01 and made.soft.shape == (6, 3)


def test_a_stretch_that_is_too_hard_is_passed_over(small):
    with pytest.raises(ValueError, match="100 stretches in a row had a distance above skip=0"):
        DATM(**QUICK | {"steps": 1}, skip=0.001)(small, 1, Run(Rng.of(0)))


def test_starts_that_would_shrink_are_refused(small):
    with pytest.raises(ValueError, match="first must be at most latest=2, not 3"):
        DATM(**QUICK | {"first": 3, "latest": 2})(small, 1, Run(Rng.of(0)))


@pytest.mark.parametrize("method", [MTT, FTD, DATM])
def test_images_that_cannot_be_whitened_are_one_sentence(method):
    with pytest.raises(ValueError, match="zca=true whitens images, but not images of more than 4,096 numbers"):
        method(**QUICK)(toy(3, 40), 1, Run(Rng.of(0)))
