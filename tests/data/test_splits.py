"""Which parts train and judge, whatever they are called."""

import itertools

import pytest

from attar.data.reading import Reading
from attar.data.splits import PARTS, choose_parts


def choose(*names: str, **options) -> tuple:
    return tuple(choose_parts(names, "mine", Reading(**options)))


@pytest.mark.parametrize(("train", "test"), list(itertools.product(PARTS["train"], PARTS["test"])))
def test_the_test_part_judges(caplog, train, test):
    assert choose(test, train) == (train, test, "test") == choose(train, test)
    assert choose(test.upper(), train.upper()) == (train.upper(), test.upper(), "test")
    assert not caplog.records


@pytest.mark.parametrize("name", PARTS["validation"])
def test_a_validation_part_judges_where_it_is_wanted_or_alone(caplog, name):
    assert choose("train", "test", name) == ("train", "test", "test")
    assert caplog.messages == [
        f'mine: not used: {name}; to test on {name}, give load_data split="validation", or --split validation'
    ]
    caplog.clear()
    assert choose("train", name) == ("train", name, "validation")
    assert caplog.messages == [f"mine has no test part: its part {name} judges"]
    caplog.clear()
    assert choose("train", "test", name, judge="validation") == ("train", name, "validation")
    assert caplog.messages == ["mine: not used: test"]


def test_a_part_alone_trains_whatever_it_is_called():
    for name in ("train", "full", "test", "val"):
        assert choose(name)[:2] == (name, None)


def test_held_out_images_judge_instead_of_every_part(caplog):
    for others in (("test",), ("val",), ("test", "val")):
        assert choose("train", *others, held_out=True)[:2] == ("train", None)
    assert not caplog.records


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("ham", "spam"), {}, "mine has the parts ham, spam; expected train, and perhaps test or validation"),
        ((), {}, "mine has the parts none; expected train"),
        (("train", "training"), {}, "mine has both train and training: leave one out"),
        (("train", "test", "val", "dev"), {}, "mine has both val and dev: leave one out"),
        (("train", "test"), {"judge": "validation"}, "split is validation, but mine has no such part beside train"),
        (("val",), {"judge": "validation"}, "split is validation, but mine has no such part beside val"),
    ],
)
def test_parts_that_cannot_be_told(names, options, message):
    with pytest.raises(ValueError, match=message):
        choose(*names, **options)


def test_other_parts_are_said_to_be_unused(caplog):
    assert choose("train", "extra", "test", "more") == ("train", "test", "test")
    assert caplog.messages == ["mine: not used: extra, more"]
