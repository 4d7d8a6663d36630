"""What is learned through a student's training: its window, its clipping, its labels, and what it is judged by."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import narrow, toy, watch_updates

from attar.engine.run import Run
from attar.methods.performance._exam import Exam
from attar.methods.performance.bptt import BPTT
from attar.methods.performance.performance import Performance, losses_by_class, match_losses
from attar.methods.performance.rat_bptt import RaTBPTT
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.training.pretrained import pretrain
from attar.training.train import Adam, train
from attar.training.unrolled import Unrolled

QUICK = {"updates": 3, "steps": 4, "batch_real": 6, "zca": False, "init": "real"}
PLAIN = QUICK | {"augment": ""}


@pytest.fixture
def small():
    return narrow(toy())


@pytest.fixture
def precise(exact):
    """In float64."""
    return narrow(exact, depth=1)


def first_update(method, task, ipc=2, seed=0):
    """Its loss, and the gradient in the images."""
    loss, gradients = watch_updates(dataclasses.replace(method, updates=1), task, ipc, Run(Rng.of(seed)))[0]
    return loss, gradients[0]


def watch_steps(monkeypatch):
    """The steps of each student, and how many of them count as given."""
    seen, call = [], Unrolled.__call__

    def watch(self, outer, w, x, y, lr, steps, *, skip=0):
        seen.append((len(steps), skip))
        return call(self, outer, w, x, y, lr, steps, skip=skip)

    monkeypatch.setattr(Unrolled, "__call__", watch)
    return seen


def test_the_window_lies_anywhere_in_the_training_and_what_follows_is_not_trained(small, monkeypatch):
    seen = watch_steps(monkeypatch)
    made = RaTBPTT(**PLAIN | {"updates": 60}, window=2)
    made(small, 1, Run(Rng.of(0)))
    assert {total - skip for total, skip in seen} == {2}
    counts = torch.tensor([skip for _, skip in seen]).bincount()
    assert len(counts) == 3 and counts.min() > 8  # of 0, 1 and 2
    again, seen[:] = list(seen), []
    made(small, 1, Run(Rng.of(0)))
    assert seen == again
    seen.clear()
    BPTT(**PLAIN)(small, 1, Run(Rng.of(0)))
    assert seen == [(4, 0)] * 3


def test_a_window_as_long_as_the_training_is_all_of_it(small):
    whole, window = (method(small, 1, Run(Rng.of(0))) for method in (BPTT(**QUICK), RaTBPTT(**QUICK, window=4)))
    assert torch.equal(whole.images, window.images)


def test_a_window_that_is_longer_than_the_training_is_refused(small):
    with pytest.raises(ValueError, match="window must be at most steps=4, not 5"):
        RaTBPTT(**QUICK, window=5)(small, 1, Run(Rng.of(0)))


@pytest.mark.parametrize("augment", ["", "flip_rotate"])
def test_the_loss_is_that_of_a_student_which_train_trains(augment, small):
    method = BPTT(**QUICK | {"augment": augment}, lr_net=0.01)
    task, run, rng = dataclasses.replace(small, flip=True), Run(Rng.of(0)), Rng.of(0).fold("episode", 0)
    loss, _ = first_update(method, task)
    made = dataclasses.replace(method, updates=1, lr=0.0)(task, 2, run)
    exam = Exam.of(task, run, batch=6, passes=0, augment=augment)
    options = {"optimiser": Adam(0.01), "augment": exam.augment, "run": run}
    start = task.network.init(rng.fold("network"))
    w, _ = train(task.network, start, made.images, made.labels, steps=4, rng=rng.fold("steps"), **options)
    x, y = exam.draw(rng.fold("real"))
    assert loss.item() == pytest.approx(F.cross_entropy(task.network.scores(w, x), y).item(), rel=1e-4)


def test_noise_starts_with_the_norm_1(small):
    made = BPTT(**PLAIN | {"init": "noise"}, lr=0.0)(small, 2, Run(Rng.of(0)))
    torch.testing.assert_close(made.images.flatten(1).norm(dim=1), torch.ones(6))


def test_learned_labels_start_one_hot_are_never_negative_and_travel(small):
    start, learned = (BPTT(**PLAIN, learn_labels=True, lr=lr)(small, 2, Run(Rng.of(0))) for lr in (0.0, 0.3))
    assert torch.equal(start.soft, F.one_hot(start.labels, 3).float())
    assert learned.soft.min() == 0 and not torch.equal(learned.soft, start.soft)


def test_scores_and_their_gradient_are_those_of_one_look_at_all_images(precise):
    run, network = Run(Rng.of(0)), precise.network
    exam = dataclasses.replace(Exam.of(precise, run, batch=6, passes=0), size=4)  # of 18
    w, (x, y) = network.init(Rng.of(1)), exam.draw(Rng.of(2))
    params = {name: p.requires_grad_() for name, p in w.params.items()}
    found, expected = (
        torch.autograd.grad(F.cross_entropy(scores, y), list(params.values()))
        for scores in (exam.scores(Weights(params, {}))(x), network.scores(w, x))
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# The general form.


def test_the_losses_of_classes_are_means_over_their_images():
    scores, y = torch.randn(7, 3, generator=Rng.of(0).generator()), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    found = losses_by_class(lambda x: x, scores, y)
    expected = [F.cross_entropy(scores[y == c], y[y == c]).item() for c in (0, 1)]
    assert found.tolist() == pytest.approx([*expected, 0])


def total(scores, x, y):
    """L with one entry: the loss of all images."""
    return losses_by_class(scores, x, y).mean()[None]


class WithTotal(Performance):
    def judge(self, exam, run):
        ((_, reference),) = pretrain(exam.task, run, 1, self.epochs)
        return match_losses(total, exam.scores(reference))


def parallel(a, b):
    return F.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


@pytest.mark.parametrize("seed", [0, 1])
def test_with_one_loss_its_gradient_is_that_of_bptt_and_with_a_vector_it_is_not(precise, seed):
    """∇‖l_T − l_S‖₂ = sign(l_S − l_T) ∇l_S where both are numbers: the same, where the student is the worse one.

    Where they are vectors it is Σ_c (l_S,c − l_T,c) / ‖l_T − l_S‖₂ ∇l_S,c, another mixture of the classes.
    """
    loss, plain = first_update(BPTT(**PLAIN), precise, seed=seed)
    gap, scalar = first_update(WithTotal(**PLAIN, epochs=60), precise, seed=seed)
    norm, vector = first_update(Performance(**PLAIN, epochs=60), precise, seed=seed)
    assert 0 < gap < loss  # the student is the worse one
    torch.testing.assert_close(scalar, plain, rtol=1e-9, atol=1e-12)
    assert norm > 3**0.5 * gap and parallel(vector, plain) < 0.999


def test_where_the_student_is_the_better_one_the_gradient_with_one_loss_is_that_of_bptt_reversed():
    found = {}
    for name, sign in (("worse", 1), ("better", -1)):
        x, y = torch.zeros(4, 2).double(), torch.tensor([0, 1, 0, 1])
        logits = torch.randn(4, 2, generator=Rng.of(3).generator(), dtype=torch.float64).requires_grad_()
        reference = logits.detach() + sign * 2 * F.one_hot(y, 2)
        gap = match_losses(total, lambda x, given=reference: given)(lambda x, given=logits: given, x, y)
        found[name] = torch.autograd.grad(gap, logits)[0]
        plain = torch.autograd.grad(total(lambda x, given=logits: given, x, y).sum(), logits)[0]
        torch.testing.assert_close(found[name], sign * plain)


def test_its_gradient_weighs_classes_by_how_far_their_losses_are_apart():
    y, generator = torch.tensor([0, 1, 2, 2]), Rng.of(5).generator()
    theirs, ours = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    ours.requires_grad_()
    apart = losses_by_class(lambda x: ours, ours, y) - losses_by_class(lambda x: theirs, theirs, y)
    weights = (apart / apart.norm()).detach()
    expected = torch.autograd.grad((weights * losses_by_class(lambda x: ours, ours, y)).sum(), ours)[0]
    gap = match_losses(losses_by_class, lambda x: theirs)(lambda x: ours, ours, y)
    assert gap.item() == pytest.approx(apart.norm().item())
    torch.testing.assert_close(torch.autograd.grad(gap, ours)[0], expected)


def test_at_equal_losses_it_is_0_and_so_is_its_gradient(precise):
    run = Run(Rng.of(0))
    exam, w = Exam.of(precise, run, batch=6, passes=0), precise.network.init(Rng.of(1))
    params = {name: p.requires_grad_() for name, p in w.params.items()}
    same = exam.scores(Weights(params, {}))
    gap = match_losses(losses_by_class, exam.scores(Weights({n: p.detach() for n, p in params.items()}, {})))(
        same, *exam.draw(Rng.of(2))
    )
    assert gap.item() == 0
    assert not any(found.any() for found in torch.autograd.grad(gap, list(params.values())))


def test_a_plan_counts_the_network_that_is_trained_first(small):
    unknown = dataclasses.replace(small, network=Network(lambda: small.network.build()))
    (stage,) = Performance(**QUICK).stages(unknown, Run(Rng.of(0)))
    assert stage.missing == 1 and stage.flop > 0


@pytest.mark.parametrize("method", [BPTT, RaTBPTT, Performance])
def test_images_that_cannot_be_whitened_are_told_in_one_sentence(method):
    with pytest.raises(ValueError, match="zca=true whitens images, but not images of more than 4,096 numbers"):
        method(updates=1)(toy(3, 40), 1, Run(Rng.of(0)))
