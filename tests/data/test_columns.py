"""Which columns hold images and labels: by their types, by their names, or as the user says."""

import json

import pyarrow as pa
import pytest

from attar.data.columns import MOST_CLASSES, check_alike, check_classes, choose_columns, say_choice

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = {"a": ["cat", "dog"], "b": ["big", "small"]}


def schema(features: dict | None = None, **kinds: pa.DataType) -> pa.Schema:
    held = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.schema(kinds, metadata=held)


def labels(*names: str) -> dict:
    return {name: {"_type": "ClassLabel", "names": NAMES["a"]} for name in names}


def choose(held: pa.Schema, image: str | None = None, label: str | None = None) -> tuple[str, str]:
    return choose_columns(held, "mine", image, label)[:2]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (schema(image=PICTURE, label=pa.int64()), ("image", "label")),
        (schema(id=pa.int64(), image=PICTURE, caption=pa.string(), label=pa.string()), ("image", "label")),
        (schema(id=pa.string(), photo=PICTURE, labels=pa.int8()), ("photo", "labels")),
        (schema(photo=pa.binary(), label=pa.bool_()), ("photo", "label")),
        (schema(photo=pa.binary_view(), label=pa.string_view()), ("photo", "label")),
        (schema(img=pa.string(), label=pa.dictionary(pa.int8(), pa.string())), ("img", "label")),
        (schema(labels("kind"), image=PICTURE, kind=pa.int64(), number=pa.int64()), ("image", "kind")),
        (schema({"photo": {"_type": "Image"}}, photo=pa.string(), label=pa.int8(), x=pa.string()), ("photo", "label")),
        # The one with more signs goes first.
        (schema(labels("fine_label", "coarse_label"), img=PICTURE, coarse_label=pa.int64(), fine_label=pa.int64()),
         ("img", "fine_label")),
        (schema(mask=PICTURE, image=PICTURE, label=pa.int64()), ("image", "label")),
    ],
)  # fmt: skip
def test_columns_are_found(held, expected):
    assert choose(held) == expected


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (schema(a=PICTURE, b=PICTURE, label=pa.int8()), "columns a, b, label; images may be a or b: .*--image-column"),
        (schema(image=PICTURE, img=PICTURE, label=pa.int8()), "images may be image or img: .*image_column"),
        (schema(image=PICTURE, label=pa.int8(), labels=pa.int8()), "labels may be label or labels: .*--label-column"),
        (schema(labels("a", "b"), image=PICTURE, a=pa.int8(), b=pa.int8()), "labels may be a or b: .*label_column"),
        (schema(image=PICTURE, kind=pa.int8()), "mine has the columns image, kind; expected label or fine_label or"),
        (
            schema(photo=pa.string(), label=pa.int8()),
            "has the columns photo, label; expected image or img for the imag",
        ),
        (schema(image=pa.list_(PICTURE), label=pa.int8()), "the column image holds list<.*; expected encoded images"),
        (schema(image=PICTURE, label=pa.list_(pa.int8())), "the column label holds list<.*; expected one whole number"),
    ],
)
def test_columns_that_cannot_be_told_are_listed(held, message):
    with pytest.raises(ValueError, match=message):
        choose(held)


def test_a_column_that_is_named_is_taken():
    held = schema(
        labels("label", "kind"), image=PICTURE, mask=PICTURE, label=pa.int8(), kind=pa.int8(), text=pa.string()
    )
    assert choose(held) == ("image", "label") and choose(held, "mask", "kind") == ("mask", "kind")
    assert choose_columns(held, "mine", None, "kind").names == NAMES["a"]
    assert choose_columns(held, "mine", None, "text").names is None
    for named, message in {
        ("mask", "knd"): "mine: unknown column 'knd', did you mean 'kind'\\? known: image, mask, label, kind, text",
        ("label", None): "mine: the column label holds int8; expected encoded images, or paths of images",
        (None, "mask"): "mine: the column mask holds struct<.*>; expected one whole number or name for each image",
        ("text", "text"): "the column text cannot hold both the images and the labels",
    }.items():
        with pytest.raises(ValueError, match=message):
            choose(held, *named)


def test_a_column_that_was_not_the_only_choice_is_said(caplog):
    held = schema(
        labels("label", "kind"), image=PICTURE, mask=PICTURE, label=pa.int8(), kind=pa.int8(), text=pa.string()
    )
    for role, name in zip(("image", "label"), choose(held), strict=True):
        say_choice(held, "mine", role, name)
    assert caplog.messages == [
        "mine: the images are the column image; to take mask instead, --image-column",
        "mine: the labels are the column label; to take kind instead, --label-column",
    ]
    caplog.clear()
    plain = schema(image=PICTURE, label=pa.int8(), text=pa.string())
    for role, name in zip(("image", "label"), choose(plain), strict=True):
        say_choice(plain, "mine", role, name)
    assert not caplog.records


def test_a_column_that_is_there_twice_is_refused():
    held = pa.schema([("image", PICTURE), ("label", pa.int8()), ("label", pa.int8())])
    with pytest.raises(ValueError, match="mine has several columns label"):
        choose(held)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (schema(image=PICTURE), "two has the columns image, but one has a column label"),
        (schema(image=PICTURE, label=pa.string()), "two: the column label holds string, but in one it holds int64"),
        (schema(image=pa.string(), label=pa.int64()), "two: the column image holds string, but in one it holds struct"),
        (
            schema({"label": {"names": NAMES["b"]}}, image=PICTURE, label=pa.int64()),
            "two has the classes 'big', 'small', but one has 'cat', 'dog'",
        ),
    ],
)
def test_files_that_do_not_go_together(other, message):
    first = schema(labels("label"), image=PICTURE, label=pa.int64())
    roles = choose_columns(first, "one", None, None)
    with pytest.raises(ValueError, match=message):
        check_alike(first, other, roles, ("one", "two"))
    for alike in (first, schema(more=pa.int8(), label=pa.int8(), image=PICTURE)):
        check_alike(first, alike, roles, ("one", "two"))


@pytest.mark.parametrize("kind", [str, int])
def test_captions_and_numbers_of_rows_are_no_classes(kind):
    many = [kind(i) for i in range(MOST_CLASSES + 1)]
    with pytest.raises(
        ValueError, match="it holds 1,001 different labels in 2,002 rows, which are no classes: name an"
    ):
        check_classes(many * 2, "it")
    check_classes(many * 10, "it")
    check_classes(many[:-1], "it")
