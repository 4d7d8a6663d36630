"""A page, read back, and what it is made of."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

from conftest import toy

from attar.condensed.condensed_set import CondensedSet
from attar.engine.run import Run
from attar.evaluation.rows import Row
from attar.report.page import write_report
from attar.rng import Rng
from attar.synthesis.pixels import Pixels

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = ["results", "charts", "images", "per-class", "projection", "planes", "details"]
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


def lead(text: str) -> str:
    """What the page says first, in one line."""
    return " ".join(re.sub(r"<[^>]*>", "", text.split('<p class="lead">')[1].split("</p>")[0]).split())


def write_full(folder: Path) -> tuple[str, Page]:
    """A page with all its sections: a learned set, a selection and the whole set, each judged by three networks."""
    task = toy()
    judged = rows(task, {"m3d": 80.0, "random": 60.0, "whole set": 95.0})
    return read(write_report(folder / "r.html", sets(task), judged, task, {"m3d-ipc2-seed0": CURVE}))
