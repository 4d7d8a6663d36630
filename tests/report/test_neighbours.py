"""What stands below synthetic images: real ones that are nearest, and colours where pixels leave their range."""

import torch
from conftest import toy
from pages import read

import attar
from attar.evaluation.audits.measures import Measure
from attar.report.neighbours import BLUE, RED, find_real, mark_beyond, show_neighbours
from attar.report.page import write_report


def test_a_selected_image_is_its_own_neighbour():
    task = toy(3, 8, (9, 9, 9))
    made = attar.condense(task, "random", 2)
    pixels = made.normalisation.to_pixels(made.decoded())
    assert torch.allclose(find_real(pixels, task), pixels, atol=1e-5)
    ((title, block),) = show_neighbours([made], task)
    assert title.startswith("random") and "a, b, c" in block.alt


def test_pixels_out_of_range_have_a_colour():
    x = torch.full((1, 1, 2, 2), 0.5)
    x[0, 0, 0] = torch.tensor([2.0, -1.0])
    x[0, 0, 1, 0] = 1.0
    shown = mark_beyond(x)[0].permute(1, 2, 0)
    assert torch.allclose(shown[0], torch.tensor([RED, BLUE]))
    assert (shown[1, 0] == shown[1, 0, 0]).all() and (shown[1, 1] == shown[1, 1, 0]).all()


def test_they_stand_in_the_section_of_that_audit_alone(tmp_path):
    task = toy(1, 8, (9, 9, 9))
    made = attar.condense(task, "random", 1)
    for audit, count in (("distribution", 1), ("robust", 0)):
        measures = [Measure(audit, "KID, z, pixels", 0.5, data="toy", method="random", ipc=1)]
        _, page = read(write_report(tmp_path / "r.html", [made], [], task, {}, measures))
        assert page.ids.count("neighbours") == count
