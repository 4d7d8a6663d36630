"""The page: whole in itself, well formed, complete, and silent about what it was not given."""

import dataclasses
import html
import re
from html.parser import HTMLParser

import pytest
import torch
from conftest import toy

from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import Normalisation
from attar.data.task import Examples
from attar.engine.run import Run
from attar.evaluation.rows import Row
from attar.report import figures
from attar.report.page import colour_curves, write_report
from attar.rng import Rng
from attar.synthesis.pixels import Pixels

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = ["results", "charts", "images", "per-class", "projection", "details"]
CURVE = [(i, 1 / (i + 1)) for i in range(200)]


class Page(HTMLParser):
    """Checks that every tag is closed where it should be; keeps ids, attributes and text."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.ids, self.attributes, self.words, self.sections = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "section":
            self.sections += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def sets(task, methods=("m3d", "random"), ipc=2, factor=1) -> list[CondensedSet]:
    about = {"data": task.name, "seed": 0, "seconds": 70.0, "hyperparameters": {"lr": 0.25, "init": "mix"}}
    about |= {"fingerprint": task.fingerprint, "indices": list(range(99))}
    made = [Pixels.start(task, ipc, Run(Rng.of(seed)), factor=factor).export() for seed in range(len(methods))]
    return [dataclasses.replace(s, provenance={"method": m, **about}) for s, m in zip(made, methods, strict=True)]


def rows(task, accuracies, ipc=2, protocol="dm", networks=3) -> list[Row]:
    return [
        Row(
            data=task.name,
            method=method,
            ipc=ipc,
            draw=0,
            variant="a",
            protocol=protocol,
            network="ConvNet",
            seed=seed,
            accuracy=a + seed,
            per_class=(a + seed,) * len(task.classes),
            epochs=9,
            bytes=1000,
            eight_bit=False,
            precision="fp32",
            split=task.split,
            condense_seconds=None,
            train_seconds=1.0,
        )
        for method, a in accuracies.items()
        for seed in range(networks)
    ]


def read(path) -> tuple[str, Page]:
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[str, Page]:
    task = toy()
    judged = rows(task, {"m3d": 80.0, "random": 60.0, "whole set": 95.0})
    path = tmp_path_factory.mktemp("page") / "r.html"
    return read(write_report(path, sets(task), judged, task, {"m3d-ipc2-seed0": CURVE}))


def test_every_section_is_there_once(full):
    text, page = full
    assert page.sections == SECTIONS
    assert {"accuracies", "losses"} <= set(page.ids)
    assert text.count("<svg") == 4  # accuracies, losses, two projections
    assert "0.25" in page.text
    assert "1 min 10 s" in page.text


def test_nothing_is_loaded_from_elsewhere(full):
    text, page = full
    loading = ("src", "href", "xlink:href", "srcset", "data", "action")
    loads = [value for _, name, value in page.attributes if name in loading]
    assert loads
    assert all(value.startswith(("data:", "#")) for value in loads)
    assert not re.search(r"@import|<script|<link|url\((?!#)", text)
    assert set(re.findall(r"https?://([^/\"' ]*)", text)) <= {"www.w3.org"}
    assert len(text) < 3e6


def test_ids_do_not_clash_and_every_reference_is_met(full):
    text, page = full
    assert len(page.ids) == len(set(page.ids))
    assert {*re.findall(r"url\(#([^)]*)\)", text), *re.findall(r'href="#([^"]*)"', text)} <= set(page.ids)


def test_charts_take_the_colours_of_the_page(full):
    text, _ = full
    assert "currentColor" in text
    assert not any(colour in text for colour in figures.VARIABLES)
    used, defined = set(re.findall(r"var\((--[\w]+)\)", text)), set(re.findall(r"(--[\w]+):", text))
    assert used <= defined


def test_the_summary_says_what_was_measured(full):
    _, page = full
    told = ["72 training images", "became 6", "12 times", "81.0 ± 1.0 %", "random real images 61.0 %", "96.0 ± 1.0 %"]
    for words in (*told, "test set"):
        assert words in page.text, words
    assert "For a first look" not in page.text
    assert "no better than random" not in page.text


def test_every_picture_has_words(full):
    _, page = full
    pictures = [value for tag, name, value in page.attributes if tag == "img" and name == "alt"]
    assert len(pictures) == 9  # three classes, real and two methods
    assert all(pictures)


def test_the_best_of_a_budget_is_marked_once(full):
    text, _ = full
    (row,) = re.findall(r'<tr class="best">(.*?)</tr>', text)
    assert "m3d" in row


def test_user_text_is_escaped(tmp_path):
    nasty = "<b>&\"'$x$"
    task = dataclasses.replace(toy(name=nasty), classes=(nasty, "b", "_c"), split=nasty)
    made = [dataclasses.replace(s, provenance=s.provenance | {"method": nasty, "note": nasty}) for s in sets(task)]
    judged = rows(task, {nasty: 50.0, "random": 40.0})
    text, page = read(write_report(tmp_path / "r.html", made, judged, task, {nasty: CURVE}))
    assert "<b>" not in text
    assert html.escape(nasty, quote=False).split('"')[0] in text
    assert nasty in page.text


@pytest.mark.parametrize(
    ("given", "sections"),
    [
        (set(), []),
        ({"made"}, ["images", "details"]),
        ({"task"}, []),
        ({"rows"}, ["results", "charts"]),
        ({"losses"}, ["charts"]),
        ({"made", "rows"}, ["results", "charts", "images", "per-class", "details"]),
        ({"made", "task", "losses"}, ["charts", "images", "projection", "details"]),
    ],
    ids=lambda value: "+".join(sorted(value)) or "nothing" if isinstance(value, set) else "",
)
def test_what_is_not_given_is_left_out(tmp_path, given, sections):
    task = toy()
    page = write_report(
        tmp_path / "r.html",
        sets(task) if "made" in given else [],
        rows(task, {"m3d": 50.0}) if "rows" in given else [],
        task if "task" in given else None,
        {"m3d": CURVE, "random": []} if "losses" in given else {},
    )
    text, parsed = read(page)
    assert parsed.sections == sections
    assert not re.search(r"<(h2|h3|p|figcaption|dl|table|div)[^>]*>\s*</\1>", text)
    assert "None" not in parsed.text


def test_a_quick_protocol_and_a_loss_to_random_are_said(tmp_path):
    task = toy()
    judged = rows(task, {"m3d": 50.0, "random": 55.0}, protocol="quick")
    _, page = read(write_report(tmp_path / "r.html", sets(task), judged, None))
    assert "For a first look" in page.text
    assert "no better than random" in page.text


def test_many_classes_many_sets_and_colour(tmp_path):
    task = toy(channels=3, side=16, counts=(5,) * 26)
    made = [*sets(task, ("m3d", "dm", "random"), 1), *sets(task, ("m3d",), 1, factor=2), *sets(task, ("m3d",), 3)]
    judged = rows(task, {"m3d": 50.0, "random": 40.0}, 1) + rows(task, {"m3d": 60.0}, 3, networks=1)
    text, page = read(write_report(tmp_path / "r.html", made, judged, task, {"x": [(0, -1.0), (1, 2.0)]}))
    assert page.sections == SECTIONS
    assert text.count('class="heat"') == 3


def test_pictures_stay_within_a_mail(tmp_path):
    classes, about = tuple(f"class {i}" for i in range(200)), Normalisation((0.5,) * 3, (0.2,) * 3)
    images, labels = torch.rand(400, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(200).repeat(2)
    made = [CondensedSet(images, labels, classes, about, provenance={"method": name}) for name in "abcdef"]
    path = write_report(tmp_path / "r.html", made, [])
    assert path.stat().st_size < 3e6


def test_float_images_and_a_network_with_batch_statistics(tmp_path):
    from functools import partial

    from attar.networks.architectures import ConvNet
    from attar.networks.network import Network

    task = toy(side=16)
    train = Examples(task.train.x / 255, task.train.y)
    task = dataclasses.replace(task, train=train, network=Network(partial(ConvNet, task.shape, 3, norm="batch")))
    before = torch.random.get_rng_state()
    _, page = read(write_report(tmp_path / "r.html", sets(task), [], task))
    assert page.sections == ["images", "projection", "details"]
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_curve_has_the_colour_of_the_method_in_its_name():
    palette = {"m3d": "blue", "dm": "red"}
    assert colour_curves({"digits-m3d-ipc10-seed0": 0, "dm-ipc1-seed2": 0}, palette) == {
        "digits-m3d-ipc10-seed0": "blue",
        "dm-ipc1-seed2": "red",
    }
