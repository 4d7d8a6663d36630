"""KIP's loss in closed form, its labels by least squares, and what its own regression makes of test images."""

import dataclasses

import pytest
import torch
from conftest import toy
from sklearn.kernel_ridge import KernelRidge

from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import unit
from attar.distances.ridge import centred
from attar.distances.tangent_kernel import tangent_kernel
from attar.engine.run import Run
from attar.methods.performance.kip import KIP
from attar.rng import Rng
from attar.synthesis.pixels import Pixels

QUICK = {"updates": 3, "batch_real": 8}


def watched(method, task, ipc):
    losses = []
    made = method(task, ipc, Run(Rng.of(0), progress=lambda done, total, loss: losses.append(loss)))
    return made, losses


@pytest.mark.parametrize("depth", [1, 3])
def test_the_loss_is_that_of_kernel_ridge_regression(task, depth):
    _, losses = watched(KIP(**QUICK, lr=0.0, depth=depth, ridge=0.01), task, 2)
    x, y = Pixels.start(task, 2, Run(Rng.of(0)))()
    x = x.detach().flatten(1).double()
    own = tangent_kernel(x, x, depth)
    model = KernelRidge(alpha=0.01 * own.trace().item() / 6, kernel="precomputed")
    model.fit(own.numpy(), centred(y, 3).double().numpy())
    for t, loss in enumerate(losses):
        real = task.sample(range(3), 8, Rng.of(0).fold("episode", t).fold("real")).flatten(0, 1).flatten(1).double()
        missed = model.predict(tangent_kernel(real, x, depth).numpy()) - torch.eye(3).repeat_interleave(8, 0).numpy()
        assert loss == pytest.approx(((missed + 1 / 3) ** 2).sum() / 48, rel=1e-7)


def test_the_loss_of_one_image_in_closed_form(task):
    """The prediction is K(t, s) / (K(s, s) (1 + ridge)) times its label, and the derivative is its own."""
    method = KIP(ridge=0.5)
    x_t, x_s = task.images(torch.arange(4)).double(), task.images(torch.arange(5, 6)).double().requires_grad_()
    y_t, y_s = centred(task.train.y[:4], 3).double(), torch.tensor([[0.5, -0.25, -0.25]], dtype=torch.float64)
    kernel = tangent_kernel(x_t.flatten(1), x_s.detach().flatten(1))[:, 0]
    own = 2 * (2 * x_s.detach().square().sum() / 64 + 0.01) + 0.01
    expected = 0.5 * ((kernel[:, None] * y_s / (own * 1.5) - y_t) ** 2).sum(1).mean()
    torch.testing.assert_close(method.loss(x_t, y_t, x_s, y_s), expected, rtol=1e-7, atol=0)
    assert torch.autograd.gradcheck(lambda x, y: method.loss(x_t, y_t, x, y), (x_s, y_s.requires_grad_()))


def test_learning_lowers_the_loss_on_all_training_images(task):
    method = KIP(updates=60, batch_real=24, lr=0.02)

    def whole(made):
        x, y = made.as_dataset(targets=True).tensors
        return method.loss(task.images(torch.arange(72)), centred(task.train.y, 3), x, y).item()

    start, made = (dataclasses.replace(method, lr=lr)(task, 2, Run(Rng.of(0))) for lr in (0.0, 0.02))
    assert made.targets is None and whole(made) < 0.8 * whole(start)
    assert method.accuracy(made, task) > method.accuracy(start, task)
    learned = dataclasses.replace(method, labels="learned")(task, 2, Run(Rng.of(0)))
    assert learned.targets.shape == (6, 3) and whole(learned) < 0.8 * whole(start)


def test_solved_labels_are_the_best_for_these_images(task):
    fixed, solved = (KIP(**QUICK, labels=labels)(task, 2, Run(Rng.of(0))) for labels in ("fixed", "solved"))
    assert torch.equal(fixed.images, solved.images)
    x_s, x_t = (x.flatten(1).double() for x in (fixed.decoded(), task.images(torch.arange(72))))
    own = tangent_kernel(x_s, x_s)
    matrix = tangent_kernel(x_t, x_s) @ torch.linalg.inv(own + 1e-6 * own.trace() / 6 * torch.eye(6))
    best = torch.linalg.lstsq(matrix, centred(task.train.y, 3).double()).solution
    torch.testing.assert_close(solved.targets.double(), best, rtol=1e-4, atol=1e-5)


def test_accuracy_is_that_of_the_regression_on_the_test_images(task, monkeypatch):
    made = CondensedSet.selected(task, task.first(3))
    x_s, x_t = (x.flatten(1).double() for x in (made.decoded(), task.normalise(task.test.x)))
    own = tangent_kernel(x_s, x_s)
    model = KernelRidge(alpha=1e-6 * own.trace().item() / 9, kernel="precomputed")
    found = model.fit(own, torch.eye(3)[made.labels] - 1 / 3).predict(tangent_kernel(x_t, x_s))
    expected = 100 * float((torch.from_numpy(found).argmax(1) == task.test.y).float().mean())
    monkeypatch.setattr("attar.methods.performance.kip.SLICE", 7)
    assert KIP().accuracy(made, task) == pytest.approx(expected)
    turned = dataclasses.replace(made, targets=-centred(made.labels, 3))
    assert KIP().accuracy(turned, task) < expected


def test_whitened_images_are_judged_whitened():
    task = toy(3)
    made = KIP(**QUICK, zca=True)(task, 2, Run(Rng.of(0)))
    assert made.normalisation.remark == "ZCA"
    floats = dataclasses.replace(task, test=dataclasses.replace(task.test, x=unit(task.test.x)))
    assert KIP().accuracy(made, task) == KIP().accuracy(made, floats)
