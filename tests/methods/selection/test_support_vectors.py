"""What support vectors prove, and the solution they stand for against slow formulas."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import narrow, toy

import attar
from attar.data.task import Examples
from attar.engine.run import Run
from attar.methods.selection.support_vectors import SupportVectors, standardise
from attar.rng import Rng
from attar.training.protocol import PROTOCOLS

MNIST = Path(__file__).parents[4] / "shared" / "data" / "MNIST"


def run(**options) -> Run:
    return Run(Rng.of(0), **options)


def squared_distances(a, b):
    return np.array([[((p - q) ** 2).sum() for q in b] for p in a])


def kernel(method, a, b):
    return a @ b.T if method.kernel == "linear" else np.exp(-method.gamma * squared_distances(a, b))


def features_of(task):
    return standardise(task.images(torch.arange(len(task.train.y))).flatten(1))


@pytest.mark.parametrize("name", ["linear", "rbf"])
def test_the_dual_solution_gives_scikit_learns_decisions_and_meets_its_conditions(name):
    """For two classes f(x) = Σ αᵢ yᵢ k(xᵢ, x) + b, and KKT: α = 0 beyond the margin, 0 < α < C on it, C within."""
    task, method = toy(counts=(30, 30)), SupportVectors(kernel=name)
    x, y = features_of(task), task.train.y
    svm = method.fit(x, y)
    signs, weights = np.where(y.numpy() == 1, 1.0, -1.0), np.zeros(len(x))  # of scikit-learn: the second class above 0
    weights[svm.support_] = svm.dual_coef_[0]
    slow = kernel(method, x.numpy(), x.numpy()) @ weights + svm.intercept_[0]
    np.testing.assert_allclose(slow, svm.decision_function(x.numpy()), atol=1e-6)
    alpha, margin = weights * signs, signs * slow
    assert abs(weights.sum()) < 1e-6 and alpha.min() >= 0 and alpha.max() <= method.C + 1e-9
    assert (margin[alpha == 0] >= 1 - 1e-4).all()
    assert (abs(margin[(alpha > 1e-6) & (alpha < method.C - 1e-6)] - 1) < 1e-4).all()
    assert (margin[alpha >= method.C - 1e-6] <= 1 + 1e-4).all()
    assert 0 < (alpha > 0).sum() < len(x)


@pytest.mark.parametrize("settings", [{}, {"kernel": "rbf"}, {"C": 0.1}, {"features": "random"}], ids=str)
def test_refitted_on_the_selection_the_svm_decides_alike(settings, task):
    made = SupportVectors(**settings)(task, None, run())
    proof = made.provenance["certificate"]
    assert proof["images"] == 72 and proof["difference"] <= 1e-3 and proof["agreement"] == 1


def test_the_certificate_is_what_a_refit_by_hand_finds(task):
    made = SupportVectors()(task, None, run())
    chosen, x = torch.tensor(made.provenance["indices"]), features_of(task)
    first, second = SupportVectors().fit(x, task.train.y), SupportVectors().fit(x[chosen], task.train.y[chosen])
    found = abs(first.decision_function(x.numpy()) - second.decision_function(x.numpy())).max()
    assert made.provenance["certificate"]["difference"] == pytest.approx(found, rel=1e-6, abs=1e-12)


def test_a_random_choice_of_as_many_images_has_no_such_proof(task):
    made = SupportVectors()(task, None, run())
    x, some = features_of(task), torch.randperm(72, generator=torch.Generator().manual_seed(0))[: len(made.labels)]
    first, second = SupportVectors().fit(x, task.train.y), SupportVectors().fit(x[some], task.train.y[some])
    assert abs(first.decision_function(x.numpy()) - second.decision_function(x.numpy())).max() > 0.1


def test_features_in_other_units_give_the_same_selection():
    f = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(standardise(f), standardise(1000 * f + 7))
    assert standardise(f).square().sum(1).mean().item() == pytest.approx(1)
    assert not standardise(torch.ones(4, 2)).any()


def test_rows_of_a_table_are_selected_too():
    """Such a task has channels for columns, and images of one pixel."""
    x = torch.randn(60, 4, 1, 1, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0, 0, 0] > 0).long()
    task = toy(4, 1, counts=(3, 3), architecture="mlp")
    made = SupportVectors()(dataclasses.replace(task, train=Examples(x, y)), None, run())
    assert 2 <= len(made.labels) < 60 and made.provenance["certificate"]["difference"] <= 1e-3


def test_above_most_images_as_many_of_each_class_take_part_and_that_is_said(caplog):
    with caplog.at_level(logging.WARNING, "attar"):
        made = SupportVectors(most=30)(toy(counts=(24, 24, 6)), None, run())
    assert made.provenance["certificate"]["images"] == 26  # ten of each class, and six of the small one
    assert "the SVM sees 10 images a class" in caplog.text and "most=54 takes all 54" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "attar"):
        SupportVectors(most=54)(toy(counts=(24, 24, 6)), None, run())
    assert not caplog.text


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="an SVM needs images of at least two classes; toy has them of 1"):
        SupportVectors()(toy(), None, run(classes=(1,)))


@pytest.mark.parametrize("name", ["C", "gamma"])
def test_what_must_be_above_zero_is(name, task):
    with pytest.raises(ValueError, match=f"{name} must be above 0, not 0"):
        attar.condense(task, "support-vectors", **{name: 0})


def test_from_condensing_to_rows_the_number_of_images_is_an_outcome(tmp_path):
    """Compared with others, saved and loaded, judged, planned and resumed."""
    protocol = dataclasses.replace(PROTOCOLS["quick"], steps=2)
    task, ask = narrow(toy()), {"protocol": protocol, "seeds": 1, "out": tmp_path / "all"}
    sets, rows = attar.compare(task, ("support-vectors", "random"), (1, 2), **ask)
    assert [made.ipc for made in sets] == [None, 1, 2]  # once, whatever the budgets
    assert [(row.ipc, row.images) for row in rows] == [(None, len(sets[0].labels)), (1, 3), (2, 6)]
    folder = tmp_path / "all" / "support-vectors-seed0"
    loaded = attar.load(folder)
    assert loaded.ipc is None and loaded.provenance == sets[0].provenance
    assert f"{len(loaded.labels)} images" in attar.write_report(tmp_path / "page.html", sets, rows).read_text()
    card = (folder / "README.md").read_text()
    assert "decides as one on 72 images" in card and f"({loaded.each} a class" in card
    assert attar.compare(task, ("support-vectors", "random"), (1, 2), **ask)[1] == rows  # what is there is taken
    assert "as many images as it finds" in str(attar.plan(task, "support-vectors"))


@pytest.mark.skipif(not MNIST.exists(), reason="MNIST is not among the shared data")
@pytest.mark.parametrize("name", ["linear", "rbf"])
def test_on_digits_of_mnist(name):
    task = attar.load_data("mnist", root=MNIST)
    made = SupportVectors(kernel=name, most=600)(task, None, run())
    proof = made.provenance["certificate"]
    assert proof["images"] == 600 and proof["difference"] <= 1e-3 and proof["agreement"] == 1
    assert 100 < len(made.labels) < 600
