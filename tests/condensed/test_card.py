"""What lies beside the tensors: images that others load with the same labels, a sheet to look at, a card that tells the truth."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from attar.condensed.card import make_card, write_card
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.pictures import draw_contact_sheet, name_folders, write_pictures

AWKWARD = (
    "zebra",
    "ant / bee",
    "",
    "train",
    "../up",
    "bullet train",
    "Ant",
    "ant",
    "con",
    "ant bee",
    "naïve été",
    "x" * 300,
)


def condensed(classes=("ant", "bee"), channels=1, ipc=3, factor=1, side=8, **provenance) -> CondensedSet:
    images = torch.rand(len(classes) * ipc, channels, side, side, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(len(classes)).repeat_interleave(ipc)
    return CondensedSet(
        images, labels, tuple(classes), (0.4,) * channels, (0.2,) * channels, factor, "unit", provenance
    )


def image_folder(root):
    try:
        from torchvision.datasets import ImageFolder
    except RuntimeError as error:  # a torchvision built for another torch does not even import
        pytest.skip(str(error))
    return ImageFolder(root)


def expected(made: CondensedSet) -> list[tuple[int, np.ndarray]]:
    """(label, pixels) class by class, as files are sorted."""
    pictures, labels = made.pictures(), made.decoded_labels()
    order = labels.argsort(stable=True)
    return [(int(labels[i]), pictures[i].permute(1, 2, 0).squeeze(-1).numpy()) for i in order]


def same(found, made: CondensedSet) -> None:
    for (label, image), (wanted, pixels) in zip(found, expected(made), strict=True):
        assert label == wanted
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("classes", [("ant", "bee"), AWKWARD])
def test_image_folder_numbers_the_classes_alike(tmp_path, classes):
    made = condensed(classes, channels=3, factor=2)
    write_pictures(made, tmp_path)
    folder = image_folder(tmp_path / "images")
    assert folder.classes == name_folders(classes)
    # ImageFolder itself opens every image as RGB.
    same([(label, image) for image, label in folder], made)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("whole", [False, True], ids=["images", "artefact"])
def test_hugging_face_numbers_the_classes_alike(tmp_path, channels, whole):
    datasets = pytest.importorskip("datasets")
    made = condensed(AWKWARD, channels=channels)
    write_pictures(made, tmp_path / "set")
    write_card(made, tmp_path / "set")
    where = (
        {"path": str(tmp_path / "set")} if whole else {"path": "imagefolder", "data_dir": str(tmp_path / "set/images")}
    )
    loaded = datasets.load_dataset(**where, cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    same([(row["label"], row["image"]) for row in loaded["train"]], made)


def test_a_class_is_named_plainly_where_sorting_allows():
    assert name_folders(["ant", "bee"]) == ["ant", "bee"]
    assert name_folders(["bee", "ant"]) == ["0-bee", "1-ant"]
    assert name_folders(["a/b", "a b"]) == ["0-a_b", "1-a_b"]


def test_any_name_is_safe_distinct_and_in_order():
    names = name_folders(AWKWARD)
    assert names == sorted(names)
    assert len({name.casefold() for name in names}) == len(AWKWARD)
    assert all(re.fullmatch(r"[\w-]{1,70}", name) for name in names)
    assert not any(re.search(r"(^|[^a-zA-Z])train($|[^a-zA-Z])", name) for name in names)


def test_grey_is_saved_as_grey_and_other_channels_as_the_first_ones(tmp_path):
    from PIL import Image

    for channels, mode in ((1, "L"), (2, "L"), (3, "RGB"), (5, "RGB")):
        made = condensed(channels=channels)
        write_pictures(made, tmp_path)
        image = Image.open(tmp_path / "images/ant/0000.png")
        assert image.mode == mode
        pixels = made.pictures()[0, : len(mode) if mode == "RGB" else 1].permute(1, 2, 0).squeeze(-1)
        np.testing.assert_array_equal(np.asarray(image), pixels.numpy())


def test_an_older_folder_is_replaced_as_a_whole(tmp_path):
    write_pictures(condensed(("cat", "dog"), ipc=5), tmp_path)
    write_pictures(condensed(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contact.png", "images"]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["ant", "bee"]
    assert len(list((tmp_path / "images").rglob("*.png"))) == 6


def test_what_fails_half_way_leaves_the_older_images(tmp_path, monkeypatch):
    write_pictures(condensed(), tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "images").rglob("*.png")}
    with monkeypatch.context() as patch:
        patch.setattr("attar.condensed.pictures.to_picture", lambda pixels: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_pictures(condensed(("cat", "dog")), tmp_path)
    assert before == {path: path.read_bytes() for path in (tmp_path / "images").rglob("*.png")}
    write_pictures(condensed(("cat", "dog")), tmp_path)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("classes", "ipc", "side"), [(2, 1, 8), (10, 50, 8), (10, 10, 32), (100, 1, 32), (120, 2, 8), (2, 2, 300)]
)
def test_contact_sheet_is_of_a_size_to_look_at(classes, ipc, side):
    sheet = draw_contact_sheet(condensed([f"class {i}" for i in range(classes)], ipc=ipc, side=side))
    assert 100 < sheet.width < 2400
    assert 100 < sheet.height < 3600
    assert sheet.height < 4 * sheet.width


def test_contact_sheet_shows_every_pixel_of_small_images():
    made = dataclasses.replace(condensed(("a",), ipc=1), images=torch.arange(64.0).view(1, 1, 8, 8) / 64)
    colours = {colour for _, colour in draw_contact_sheet(made).convert("L").getcolors()}
    assert colours >= {int(value) for value in made.pictures().flatten()}


def test_a_shard_without_some_classes_has_a_sheet_and_empty_folders(tmp_path):
    made = condensed(("a", "b", "c"))
    part = dataclasses.replace(made, images=made.images[:3], labels=made.labels[:3] + 1)
    write_pictures(part, tmp_path)
    assert {path.name: len(list(path.iterdir())) for path in (tmp_path / "images").iterdir()} == {
        "a": 0,
        "b": 3,
        "c": 0,
    }


def test_the_training_code_of_the_card_runs(tmp_path, monkeypatch):
    condensed(ipc=2, method="m3d", data="insects").save(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code.replace("range(300)", "range(30)"), names)
    x, y = names["made"].as_dataset().tensors
    assert (names["network"](x).argmax(1) == y).all()


def test_the_header_is_what_hugging_face_reads(tmp_path):
    yaml = pytest.importorskip("yaml")
    text = make_card(condensed(method='a "b": c', data="d\ne"))
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pretty_name"] == 'd\ne, condensed by a "b": c'
    assert "dataset-condensation" in head["tags"]
    assert head["task_categories"] == ["image-classification"]
    assert head["size_categories"] == ["n<1K"]
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "images/**"}]


def test_the_card_says_what_is_known_and_nothing_else():
    known = {
        "method": "m3d",
        "data": "digits",
        "seed": 7,
        "seconds": 3700,
        "fingerprint": "abc123",
        "versions": {"torch": "2.9"},
    }
    text = make_card(
        condensed(
            factor=2, **known, engine={"device": "cpu"}, precision="fp32", hyperparameters={"lr": 0.5, "init": "mix"}
        )
    )
    for words in (
        "m3d",
        "digits",
        "| Seed | 7 |",
        "1 h 1 min",
        "abc123",
        "torch 2.9",
        "cpu",
        "fp32",
        "`0.5`",
        "2 × 2",
        "decode to 24",
        "0.4",
    ):
        assert words in text, words
    bare = make_card(condensed())
    assert "None" not in bare
    for words in ("Seed", "Engine", "Versions", "Fingerprint", "Hyper-parameters"):
        assert words not in bare


def test_names_are_shown_as_they_are():
    text = make_card(condensed(("<b>&", "a|b", "[x](y)")))
    assert r"\<b\>\&, a\|b, \[x\](y)" in text
