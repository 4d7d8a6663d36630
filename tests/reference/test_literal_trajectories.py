"""MTT's student against one graph of all its steps: the same random numbers, in float64, the same gradient.

Source, besides the authors' code: MTT (Cazenavette et al., CVPR 2022).
"""

from pathlib import Path

import pytest
import torch

from attar.engine.run import Run
from attar.methods._unrolled import Learner
from attar.methods.trajectory._student import Stretch, Student
from attar.networks.weights import flatten
from attar.rng import Rng
from attar.training.protocol import DSA
from attar.training.train import SGD
from attar.training.unrolled import Unrolled

RNG = Rng.of(3)


def test_a_student_is_differentiated_as_its_whole_graph_is(exact, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from literal.trajectories import follow

    x, y = exact.train.x[::8].clone().requires_grad_(), exact.train.y[::8]
    lr = torch.tensor(0.05).requires_grad_()
    start, other = (exact.network.init(RNG.fold(i)) for i in range(2))
    target = start.between(other, 0.1)
    unrolled = Unrolled.of(exact.network, exact.shape, SGD(momentum=0.0, weight_decay=0.0), 0, Run(RNG))
    student = Student(Learner(exact, unrolled, None, DSA), start, 5)
    miss = student.miss(Stretch(flatten(start.params), flatten(target.params)), x, y, lr, RNG)
    expected, *gradients = follow(exact, x, y, lr, start, target, 5, DSA, RNG.fold("steps"))
    assert miss.item() == pytest.approx(expected.item(), rel=1e-10)
    for own, wanted in zip(torch.autograd.grad(miss, (x, lr)), gradients, strict=True):
        assert wanted.norm() > 0 and (own - wanted).norm() <= 1e-10 * wanted.norm()
