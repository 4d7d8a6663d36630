"""Pictures within the page: the one it opens with, and those of each class."""

import base64
import io
import re

import pytest
import torch
from pages import Page, write_full
from PIL import Image

from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import Normalisation
from attar.report.page import write_report
from attar.report.sheets import draw_opening


def make(labels: list[int], classes: int, factor: int = 1) -> CondensedSet:
    """Images of 8 × 8, each as bright as its class and its place in it say."""
    known = torch.tensor(labels)
    images = (known / classes)[:, None, None, None].expand(-1, 1, 8, 8).contiguous()
    names = tuple(f"class {c}" for c in range(classes))
    return CondensedSet(images, known, names, Normalisation((0.5,), (0.5,)), factor, provenance={"method": "dm"})


def count_pictures(opening) -> tuple[int, int]:
    """Lines and columns of pictures of eight pixels, a pixel apart."""
    image = Image.open(io.BytesIO(base64.b64decode(opening["block"].source.partition(",")[2])))
    return (image.height + 1) // 9, (image.width + 1) // 9


@pytest.mark.parametrize(
    ("made", "size", "told"),
    [
        (make([0, 1, 2], 3), (1, 3), "the image of each class"),
        (make([0, 0, 1, 1], 2), (2, 2), "the first 2 images of each class"),
        (make([0] * 9 + [1] * 9, 2), (3, 2), "the first 3 images of each class"),
        (make([0, 0, 0, 1], 2), (1, 2), "the first image of each class"),  # as many of each
        (make([1, 2, 2, 1], 5), (2, 2), "the first 2 images of each class"),  # a shard, without some classes
        (make(list(range(40)), 40), (1, 10), "the image of the first 10 of 40 classes"),
        (make([0, 1], 2, factor=2), (3, 2), "the first 3 images of each class"),
    ],
)
def test_the_opening_has_a_column_a_class_and_says_what_it_leaves_out(made, size, told):
    opening = draw_opening(made)
    assert count_pictures(opening) == size
    assert f": {told}, as networks see " in opening["caption"]


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[str, Page]:
    return write_full(tmp_path_factory.mktemp("sheets"))


def test_the_page_opens_with_the_images_of_its_subject(full):
    text, page = full
    header = text[text.index("</h1>") : text.index("</header>")]
    assert header.index("<img") < header.index('<p class="lead">')
    (alt,) = re.findall(r'<img [^>]*alt="([^"]*)"', header)
    assert alt == "6 m3d images of a, b, c"
    assert "m3d, 2 per class: the first 2 images of each class" in page.text


def test_every_picture_has_words(full):
    _, page = full
    pictures = [value for tag, name, value in page.attributes if tag == "img" and name == "alt"]
    assert len(pictures) == 10  # the opening one; three classes, real and two methods
    assert all(pictures)


def test_pictures_stay_within_a_mail(tmp_path):
    classes, about = tuple(f"class {i}" for i in range(120)), Normalisation((0.5,) * 3, (0.2,) * 3)
    images, labels = torch.rand(240, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(120).repeat(2)
    made = [CondensedSet(images, labels, classes, about, provenance={"method": name}) for name in "abcdef"]
    path = write_report(tmp_path / "r.html", made, [])
    assert path.stat().st_size < 3e6
