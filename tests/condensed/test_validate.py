"""What is no sound set is refused in a sentence: when it is made, when it is loaded, and when it is saved."""

import dataclasses
import json
import math

import pytest
import torch
from safetensors.torch import save_file
from small_sets import condensed

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, TENSORS, load, save
from attar.data.normalisation import Normalisation
from attar.files import DamagedFile, hash_file, hash_tensors

NAN, MANY = math.nan, 10**400
OPTIONAL = ("soft", "targets")
JUNK = (None, True, "text", [], {}, [[[["deep"]]]], {"a": {"b": [NAN]}}, -1, 1e300, MANY)


def changed(tensor: torch.Tensor, value: float) -> torch.Tensor:
    """The same with another last value."""
    tensor = tensor.clone()
    tensor.view(-1)[-1] = value
    return tensor


def bad_tensors(made: CondensedSet) -> list[tuple[str, torch.Tensor | None]]:
    x, y, soft = made.images, made.labels, made.soft
    images = [x[0], x[None], x[:0], x[:, :0], x[1:], x.half(), x.bfloat16(), x.long(), x > 0.5, x.view(-1), x * 255]
    images += [changed(x, value) for value in (NAN, math.inf, -math.inf)] + [torch.cat([x, x], 1), None]
    labels = [y[1:], y[None], y[:0], y.int(), y.float(), y.bool(), y[0], torch.cat([y, y]), None]
    labels += [changed(y, value) for value in (-1, 3, 2**62)]
    softs = [soft[1:], soft[:, 1:], soft[None], soft[:0], soft.long(), soft.half(), soft.T, soft[:6]]
    softs += [changed(soft, value) for value in (NAN, math.inf)]
    targets = [-rows for rows in softs]
    table = {"images": images, "labels": labels, "soft": softs, "targets": targets, "unheard": [x + 1]}
    return [(name, value) for name, values in table.items() for value in values]


BAD_ENTRIES = {
    "classes": [*JUNK, ["a", "a", "a"], ["a"], ["a", "b"], ["a", "b", 3], ["a", "b", None], ["a", "b", ["c"]], "abc"],
    "factor": [*JUNK, 0, 9, 10**6, 2.0, 2.5, NAN, "2", 1000],
    "space": [*JUNK, "Unit", "latent", 1],
    "mean": [*JUNK, ["0.4"], [None], [True], [NAN], [math.inf], [[0.4]], [0.4, 0.4], 0.4, [127.0], [MANY]],
    "std": [*JUNK, ["0.2"], [None], [True], [NAN], [math.inf], [0], [-0.2], [1000], [0.2, 0.2], 0.2, [1e-30], [MANY]],
    "unheard": [1],
}
BAD_FACTS = {
    **{name: [5, None, ["m3d"], {"a": 1}] for name in ("method", "data", "network", "fingerprint", "split")},
    "seed": ["1", None, [1], {}, True, 1.5],
    **{name: ["1", None, NAN, math.inf, -1] for name in ("seconds", "cached_seconds")},
    **{name: ["text", 1, [1], None] for name in ("hyperparameters", "engine", "begun_on", "versions", "expect")},
    **{name: ["text", 1, {"a": 1}, None] for name in ("recipe", "indices", "shards")},
}
TABLES = [("entry", key, value) for key, values in BAD_ENTRIES.items() for value in values] + [
    ("fact", key, value) for key, values in BAD_FACTS.items() for value in values
]
RAW = [depth * "[" + depth * "]" for depth in (60, 900, 3_000, 100_000)]
RAW += [depth * '{"a":' + "1" + depth * "}" for depth in (60, 900, 3_000, 100_000)] + ["1" * 5000, "{", "", "\\"]


@pytest.fixture
def made() -> CondensedSet:
    """Three classes of two stored images, each of four tiles with labels of their own."""
    rows = {"soft": torch.full((24, 3), 1 / 3), "targets": torch.full((24, 3), -0.5)}
    return dataclasses.replace(condensed(("a", "b", "c"), ipc=2, factor=2), **rows)


@pytest.fixture
def parts(made):
    """What a file of that set holds."""
    tensors = {name: getattr(made, name) for name in ("images", "labels", "soft", "targets")}
    return tensors, {"classes": ["a", "b", "c"], "factor": 2, "space": "unit", "mean": [0.4], "std": [0.2]}


def write(folder, tensors, entries: str, facts: str = "{}") -> None:
    """A folder with this content, as JSON text, and right checksums."""
    header = {"attar": entries, "sha256": hash_tensors(tensors, entries)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS, header)
    about = json.dumps({"format": 1, "sha256": hash_file(folder / TENSORS)})
    (folder / MANIFEST).write_text(about if facts == "{}" else f"{about[:-1]}, {facts[1:]}", encoding="utf-8")


def refused(folder) -> str:
    """The sentence by which a folder is refused."""
    with pytest.raises(ValueError) as caught:
        load(folder)
    sentence = str(caught.value)
    assert type(caught.value) in (ValueError, DamagedFile), "one of Python's own"
    assert sentence.startswith(str(folder)) and "\n" not in sentence and len(sentence) < len(str(folder)) + 250
    return sentence


def test_what_is_sound_is_loaded(made, parts, tmp_path):
    tensors, entries = parts
    facts = '{"method": "m3d", "own": [1, {"a": null}]}'
    write(tmp_path, tensors, json.dumps(entries | {"mean": [0], "std": [1]}), facts)
    loaded = load(tmp_path)
    assert loaded.normalisation == Normalisation((0.0,), (1.0,))
    assert loaded.provenance == {"method": "m3d", "own": [1, {"a": None}]}


def test_no_wrong_tensor_is_loaded(made, parts, tmp_path):
    tensors, entries = parts
    for name, value in bad_tensors(made):
        others = {key: tensor for key, tensor in tensors.items() if key != name}
        write(tmp_path, others if value is None else others | {name: value}, json.dumps(entries))
        refused(tmp_path)


def test_codes_without_a_generator_are_not_loaded(made, parts, tmp_path):
    tensors, entries = parts
    write(tmp_path, tensors | {"codes": torch.zeros(len(made.images), 64)}, json.dumps(entries))
    assert "there is a tensor 'codes', but no entry 'decoder'" in refused(tmp_path)


def test_no_wrong_tensor_is_taken(made):
    for name, value in bad_tensors(made):
        if name != "unheard":
            with pytest.raises(
                ValueError, match=r"^the (images|labels|soft labels|targets) (are|have|hold|go) |^mean has"
            ):
                dataclasses.replace(made, **{name: value if value is not None or name in OPTIONAL else "text"})


@pytest.mark.parametrize("kind, key, value", TABLES)
def test_no_wrong_metadata_is_loaded(parts, tmp_path, kind, key, value):
    tensors, entries = parts
    entries |= {key: value} if kind == "entry" else {}
    write(tmp_path, tensors, json.dumps(entries), json.dumps({key: value} if kind == "fact" else {}))
    assert key.removesuffix("es") in refused(tmp_path)
    if kind == "entry":
        write(tmp_path, tensors, json.dumps({name: entry for name, entry in entries.items() if name != key}))
        assert key == "unheard" or f"there is no entry {key!r}" in refused(tmp_path)


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: f"{raw[:6]} of {len(raw)}")
@pytest.mark.parametrize("where", ["entries", "classes", "mean", "factor", "space", "facts", "format"])
def test_no_hostile_text_is_loaded(parts, tmp_path, raw, where):
    tensors, entries = parts
    whole = json.dumps(entries | {where: "RAW"} if where in entries else entries).replace('"RAW"', raw)
    own = {"facts": f'{{"own": {raw}}}', "format": f'{{"format": {raw}}}'}.get(where, "{}")
    write(tmp_path, tensors, raw if where == "entries" else whole, own)
    refused(tmp_path)


@pytest.mark.parametrize("name", ["images", "labels", *OPTIONAL])
@pytest.mark.parametrize("change", [lambda x: x.to("meta"), lambda x: x.to_sparse()])
def test_tensors_that_hold_no_value_for_an_index_are_refused(name, change, made):
    values = torch.rand(len(made.decoded_labels()), len(made.classes)) if name in OPTIONAL else getattr(made, name)
    with pytest.raises(ValueError, match=f"^the {name}.* expected a dense tensor that holds its values"):
        dataclasses.replace(made, **{name: change(values)})


def test_what_comes_as_float64_trains_as_float32(made):
    soft = torch.rand(len(made.decoded_labels()), len(made.classes))
    exact = dataclasses.replace(made, images=made.images.double(), soft=soft.double())
    assert torch.equal(exact.as_dataset().tensors[0], made.as_dataset().tensors[0])
    assert torch.equal(exact.as_dataset(soft=True).tensors[1], soft)


def test_nothing_wrong_is_built(made):
    for key in ("classes", "factor", "space"):
        for value in BAD_ENTRIES[key]:
            with pytest.raises(ValueError):
                dataclasses.replace(made, **{key: value})
    for about in (
        [],
        "text",
        {1: 2},
        {"a": {2: 3}},
        {"a": [torch.ones(1)]},
        {"sha256": "x"},
        {"indices": {1}},
        {"a": 10**5000},
        {"shards": [{"fingerprint": [1]}]},
    ):
        with pytest.raises(ValueError, match=r"^the provenance"):
            dataclasses.replace(made, provenance=about)
    with pytest.raises(ValueError, match=r"^the normalisation is \(1, 2\); expected attar.Normalisation"):
        dataclasses.replace(made, normalisation=(1, 2))


def test_what_was_changed_since_is_not_saved(made, tmp_path):
    made.images[0, 0, 0, 0] = NAN
    with pytest.raises(ValueError, match="the images hold values that are NaN or infinite"):
        save(made, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"factor": 10**6}, "factor 1000000 does not suit a side of 8 pixels: tiles would lie outside"),
        ({"labels": torch.full((6,), 3)}, "the labels go from 3 to 3; expected 0 to 2, as the classes do"),
        ({"soft": torch.ones(6, 3)}, r"the soft labels have the shape \(6, 3\); expected \(24, 3\), a row for each"),
        ({"targets": torch.ones(24, 2)}, r"the targets have the shape \(24, 2\); expected \(24, 3\), a row for each"),
        ({"classes": ("a", "b", 3)}, "the name of class 2 is 3; expected text"),
        ({"space": "latent"}, "the space is 'latent'; expected 'unit' or 'normalised'"),
        ({"provenance": {"seconds": NAN}}, "the provenance's seconds is nan; expected a time"),
    ],
)
def test_sentences(made, change, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        dataclasses.replace(made, **change)


def test_two_classes_of_one_name_are_no_fault(made):
    assert dataclasses.replace(made, classes=("crane", "dog", "crane")).classes[2] == "crane"
