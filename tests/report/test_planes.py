"""One class in pixels and in features, as the two kinds of matching see it."""

import dataclasses

import pytest
import torch
from conftest import toy
from pages import read, sets

from attar.data.task import Examples
from attar.report import figures
from attar.report.page import write_report
from attar.report.planes import place_class, project, span_plane
from attar.report.settings import list_settings


def test_the_plane_is_that_of_the_real_images_whatever_was_condensed():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(50, 6, generator=generator) * torch.tensor([1.0, 9, 1, 1, 5, 1])  # spread in two directions
    far = 1000 * torch.eye(6)[:1]  # which would be the first component, were it fitted too
    placed = span_plane(real, torch.cat([real, far]))
    _, _, axes = torch.linalg.svd(real - real.mean(0), full_matrices=False)
    expected = (torch.cat([real, far]) - real.mean(0)) @ axes[:2].T
    torch.testing.assert_close(placed.abs(), expected.abs(), rtol=1e-3, atol=1e-3)  # the signs are free
    assert placed[50].norm() < 500


def keep(made, per_class):
    """As many images of each class as `per_class` says."""
    rows = torch.cat([(made.labels == c).nonzero()[:n, 0] for c, n in enumerate(per_class)])
    return dataclasses.replace(made, images=made.images[rows], labels=made.labels[rows])


@pytest.mark.parametrize(("per_class", "name"), [((2, 2, 2), "a"), ((1, 2, 2), "b"), ((0, 0, 1), "c")])
def test_the_class_is_that_of_which_the_set_has_most(per_class, name):
    task = toy()
    planes = place_class(task, keep(sets(task)[0], per_class))
    assert planes["class"] == name
    assert [heading for heading, _ in planes["panels"]] == ["In pixels, the input space", "In features, a latent space"]


def test_real_images_are_those_of_the_class_and_the_condensed_ones_stand_before_them(monkeypatch):
    task, drawn = toy(), []
    monkeypatch.setattr(figures, "plot_scatter", lambda *given: drawn.append(given) or "")
    place_class(task, sets(task, ipc=10)[0])
    for _, (real, _), (condensed, _), classes, alt, pictures in drawn:
        assert len(real) == 24 and len(condensed) == 10 and len(pictures) == 8 and classes == ["a"]
        assert alt.startswith("Real images of a and those of m3d, 10 per class, in ")


def test_whitened_images_lie_where_they_are_without_whitening(monkeypatch):
    task, drawn = toy(3), []
    made = sets(task, ipc=10)[0]
    whitened = made.renormalised(task.whitened().normalisation)
    monkeypatch.setattr(figures, "plot_scatter", lambda *given: drawn.append(given[2][0]) or "")
    for one in (made, whitened):
        place_class(task, one)
        project([one], task, one)
    torch.testing.assert_close(drawn[0], drawn[3], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(drawn[1], drawn[4], rtol=1e-2, atol=1e-2)
    assert len(drawn) == 6


def test_the_settings_of_a_page_tell_of_whitening_and_of_a_learned_step_size():
    task = toy(3)
    made = sets(task)[0]
    whitened = dataclasses.replace(made.renormalised(task.whitened().normalisation), step_size=0.25)
    told, plain = dict(list_settings(whitened)), dict(list_settings(made))
    assert told["eps"] == "0.1" and told["step size"] == "0.25" and "148.2 kB to whiten" in told["bytes"]
    assert not {"eps", "step size"} & plain.keys() and "whiten" not in plain["bytes"] and plain["mean"] == told["mean"]


@pytest.mark.parametrize(("images", "shown"), [(1, False), (2, False), (3, True)])
def test_a_class_of_too_few_images_has_no_plane(images, shown, tmp_path):
    task = toy()
    rows = torch.cat([(task.train.y == c).nonzero()[: images if c == 0 else 24, 0] for c in range(3)])
    task = dataclasses.replace(task, train=Examples(task.train.x[rows], task.train.y[rows]))
    _, page = read(write_report(tmp_path / "r.html", sets(toy()), [], task))
    assert ("planes" in page.sections) is shown


def test_the_caption_says_what_each_kind_of_matching_moves(tmp_path):
    task = toy(channels=3)
    text, page = read(write_report(tmp_path / "r.html", sets(task), [], task))
    assert "Matching in input space moves images in the left plane, matching in latent space in the right" in page.text
    section = text.split('<section id="planes">')[1].split("</section>")[0]
    assert section.count("<svg") == 2 and section.count("data:image/png") == 4  # two condensed images in each
