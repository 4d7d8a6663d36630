"""FRePo's update, by plain modules and a solve."""

import dataclasses
import math

import pytest
import torch
from conftest import narrow, toy

from attar.distances.ridge import centred
from attar.engine.run import Run
from attar.methods.performance.frepo import FRePo, margin
from attar.rng import Rng
from attar.synthesis.pixels import Pixels

QUICK = {"updates": 9, "capacity": 2, "life": 4, "batch_real": 5, "zca": False}


def literal(task, method, run):
    """The losses of all updates on images and labels that stay as they are: a loop over plain networks."""
    k, losses = len(task.classes), []
    x_s, y = Pixels.start(task, 2, run)()
    x_s, y_s = x_s.detach(), centred(y, k) / math.sqrt(k / 10)
    if method.mirrors and task.flip:
        x_s, y_s = torch.cat([x_s, x_s.flip(3)]), torch.cat([y_s, y_s])

    def fresh(rng):
        module = task.network.build()
        module.load_state_dict(task.network.init(rng).params)
        return module, torch.optim.Adam(module.parameters(), lr=method.lr_net)

    learners, ages = [fresh(run.rng.fold("start", i)) for i in range(2)], [0, 2]
    for t in range(method.updates):
        rng = run.rng.fold("episode", t)
        i = int(torch.randint(2, (), generator=rng.fold("network").generator()))
        module, opt = learners[i]
        real = task.sample(range(k), 5, rng.fold("real")).flatten(0, 1)
        with torch.no_grad():
            entered = []
            hook = module.head.register_forward_hook(lambda _, given, out, entered=entered: entered.append(given[0]))
            module(real)
            module(x_s)
            hook.remove()
            phi_t, phi_s = entered
            gram = phi_s @ phi_s.T
            gram += 1e-6 * gram.trace() / len(gram) * torch.eye(len(gram))
            scores = phi_t @ phi_s.T @ torch.linalg.inv(gram) @ y_s
            y_t = torch.eye(k).repeat_interleave(5, 0) - 1 / k
            loss = 0.5 * ((scores - y_t) ** 2).sum() / len(y_t)
            gaps = [min(float(row.max() - row.sort().values[-2]), 1 / k) for row in y_s]
            losses.append(float(loss) - (sum(gaps) / len(gaps) if method.learn_labels else 0))
        ages[i] += 1
        if ages[i] == method.life:
            learners[i], ages[i] = fresh(rng.fold("train")), 0
            continue
        opt.zero_grad()
        (0.5 * ((module(x_s) - y_s) ** 2).sum(1)).mean().backward()
        opt.step()
    return losses


@pytest.mark.parametrize("changes", [{}, {"learn_labels": False}, {"mirrors": True}])
def test_losses_are_those_of_the_literal_loop(exact, changes):
    """In float64: regression, margin, ages, and how networks learn between the updates."""
    task, found = dataclasses.replace(exact, flip=True), []
    method = FRePo(**QUICK, lr=0.0, lr_net=0.01, **changes)
    run = Run(Rng.of(0), progress=lambda done, total, loss: found.append(loss))
    made = method(task, 2, run)
    assert found == pytest.approx(literal(task, method, run), rel=1e-6)
    assert (made.targets is None) == (not method.learn_labels)


def test_undecided_labels_have_no_margin():
    assert margin(torch.tensor([[0.3, 0.3, -0.6], [0.2, 0.1, 0.0], [9.0, 0.0, 1.0]])).item() == pytest.approx(
        (0 + 0.1 + 1 / 3) / 3
    )


def test_labels_are_learned_and_are_no_probabilities():
    task = narrow(toy(3))
    made = FRePo(**QUICK, optimiser="adam", lr=0.05)(task, 2, Run(Rng.of(0)))
    assert made.soft is None and made.targets.shape == (6, 3)
    assert (made.targets < 0).any() and not torch.allclose(made.targets, centred(made.labels, 3) / math.sqrt(0.3))
    assert torch.equal(made.targets.argmax(1), made.labels)


def test_images_that_are_whitened_stay_so():
    made = FRePo(**QUICK | {"zca": True})(narrow(toy(3)), 1, Run(Rng.of(0)))
    assert made.normalisation.remark == "ZCA" and made.space == "normalised"


def test_a_step_sees_no_more_images_than_asked(exact):
    """With the whole batch the order does not matter, with a part it does."""
    sets = [FRePo(**QUICK, batch_syn=n, learn_labels=False)(exact, 2, Run(Rng.of(0))).images for n in (6, 1000, 2)]
    assert torch.equal(sets[0], sets[1]) and not torch.equal(sets[1], sets[2])
