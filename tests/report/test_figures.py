"""Charts: their range, their size and their colours."""

import dataclasses
import re

import pytest
from conftest import toy
from pages import read, rows, write_full

from attar.evaluation.rows import summarise
from attar.report import figures
from attar.report.page import write_report


def test_one_row_makes_a_low_chart_that_is_not_enlarged(tmp_path):
    task = toy()
    text, _ = read(write_report(tmp_path / "r.html", [], rows(task, {"m3d": 60.0}, networks=1), None))
    (height,) = re.findall(r'<svg viewBox="0 0 [\d.]+ ([\d.]+)"', text)
    assert float(height) < 80  # points
    assert re.search(r"\.pair > :only-child \{[^}]*max-width", text)


@pytest.mark.parametrize("accuracy", [0.0, 3.0, 60.0, 95.7, 98.0, 100.0])
@pytest.mark.parametrize("networks", [1, 2, 3])
def test_ticks_lie_within_what_an_accuracy_can_be(accuracy, networks):
    judged = [
        dataclasses.replace(row, accuracy=min(100.0, row.accuracy))
        for row in rows(toy(), {"m3d": accuracy}, 1, "dm", networks)
    ]
    drawn = figures.plot_accuracies(summarise(judged), ["m3d"], {"m3d": figures.SERIES[0]})
    ticks = [float(tick) for tick in re.findall(r'id="accuracies-xtick.*?>([\d.−]+)</text>', drawn, flags=re.DOTALL)]
    assert len(ticks) >= 3 and min(ticks) >= 0 and max(ticks) <= 100
    assert min(ticks) - 2 <= accuracy <= max(ticks) + 2  # they stand around what is shown


def test_charts_take_the_colours_of_the_page(tmp_path):
    text, _ = write_full(tmp_path)
    assert "currentColor" in text
    assert not any(colour in text for colour in figures.VARIABLES)
    used, defined = set(re.findall(r"var\((--[\w]+)\)", text)), set(re.findall(r"(--[\w]+):", text))
    assert used <= defined
