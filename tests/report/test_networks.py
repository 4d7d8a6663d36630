"""Sets as several networks judge them."""

import dataclasses
import re

import pytest
from conftest import toy
from pages import read, rows, sets
from PIL import Image

from attar.evaluation.rows import list_columns, summarise
from attar.report.networks import save_picture, tabulate_networks
from attar.report.page import write_report


def judged(networks=("ConvNet", "VGG11", "timm:resnet18"), accuracies=None):
    accuracies = accuracies or {"m3d": 80.0, "random": 60.0}
    found = rows(toy(), accuracies)
    return [
        dataclasses.replace(row, network=name, accuracy=row.accuracy - 10 * i)
        for i, name in enumerate(networks)
        for row in found
    ]


def test_the_table_has_a_line_for_each_set_and_a_column_for_each_network():
    table = tabulate_networks(summarise(judged()[:-3]))  # the last did not judge the random images
    assert table.networks == ["ConvNet", "VGG11", "timm:resnet18"]
    means = {name: [cell and cell.mean for cell in line] for name, line in table.lines.items()}
    assert means == {"m3d, 2 per class": [81.0, 71.0, 61.0], "random, 2 per class": [61.0, 51.0, None]}
    assert table.lines["m3d, 2 per class"][1].gain == 20.0  # over random images under the same network


def test_sets_of_one_name_have_lines_of_their_own():
    other = [dataclasses.replace(row, variant="b") for row in judged()]
    table = tabulate_networks(summarise([*judged(), *other]))
    first = ["m3d, 2 per class", "random, 2 per class"]
    assert list(table.lines) == [*first, *(f"{name} (2)" for name in first)]


def test_a_single_network_needs_no_table_no_column_and_no_picture(tmp_path):
    one = judged(("ConvNet",))
    assert tabulate_networks(summarise(one)) is None and save_picture(one, tmp_path / "n.png") is None
    assert "network" not in list_columns(summarise(one)) and "network" in list_columns(summarise(judged()))
    text, _ = read(write_report(tmp_path / "r.html", sets(toy()), one, None))
    assert 'id="by-network"' not in text and not (tmp_path / "n.png").exists()


@pytest.mark.parametrize("methods", [1, 2, 14])
def test_the_picture_stands_alone_in_colours_of_a_light_page(methods, tmp_path):
    accuracies = {f"m{i} <$x_ 网": 20.0 + i for i in range(methods)}
    image = Image.open(save_picture(judged(accuracies=accuracies), tmp_path / "n.png")).convert("RGB")
    assert image.getpixel((0, 0)) == (255, 255, 255) and image.width == 920
    assert (0xC2, 0x47, 0x3A) in {colour for _, colour in image.getcolors(2**24)}


def test_a_report_shows_the_table_and_the_picture(tmp_path):
    text, page = read(write_report(tmp_path / "r.html", sets(toy()), judged(), None))
    assert "Accuracy by network" in page.text and "timm:resnet18" in page.text
    part = text[text.index('id="by-network"') :]
    assert re.search(r'aria-label="Test accuracy by network: m3d, 2 per class: ConvNet 81.0\s%', part)
    best = re.findall(r'<tr class="best">', text)
    assert len(best) == 3  # one under each network
