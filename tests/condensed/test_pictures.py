"""What lies beside the tensors: images that others load with the same labels, and a sheet to look at."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
import torch
from small_sets import AWKWARD, condensed

from attar.condensed.card import write_card
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.pictures import draw_contact_sheet, name_folders, write_pictures


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
    images = {"path": "imagefolder", "data_dir": str(tmp_path / "set/images")}
    where = {"path": str(tmp_path / "set")} if whole else images
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
    made = dataclasses.replace(condensed(("a", "b"), ipc=1), images=torch.arange(128.0).view(2, 1, 8, 8) / 128)
    colours = {colour for _, colour in draw_contact_sheet(made).convert("L").getcolors()}
    assert colours >= {int(value) for value in made.pictures().flatten()}


@pytest.mark.parametrize("factor, ipc", [(1, 3), (2, 3), (2, 9)])
def test_the_sheet_shows_the_first_decoded_images_of_each_class(factor, ipc):
    """It decodes few stored images, and these are the ones that come first among all."""
    made = condensed(ipc=ipc, factor=factor)
    few = made.first(4, 2)
    assert len(few.labels) == 2 * min(4, ipc)
    for c in (0, 1):
        shown, whole = (one.pictures()[one.decoded_labels() == c][:4] for one in (few, made))
        assert torch.equal(shown, whole)


def test_a_shard_of_late_classes_has_a_sheet():
    many = condensed([str(i) for i in range(150)], ipc=1)
    late = dataclasses.replace(many, images=many.images[120:], labels=many.labels[120:])
    assert draw_contact_sheet(late).width > 100


SCRIPTS = {"ant": 1, "naïve été": 1, "λάμδα": 1, "кошка": 1, "قطة": 1, "חתול": 1, "a\x1b[31m": 1, "\udcff": 1} | {
    "猫": 0, "ねこ": 0, "고양이": 0, "แมว": 0, "बिल्ली": 0, "ant 猫": 0, "": 0, " ": 0
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_name_is_drawn_in_its_script_or_by_its_label(name, monkeypatch):
    from PIL import ImageDraw

    written = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, at, text, *rest, **more: written.append(text))
    draw_contact_sheet(condensed(("bee", name)))
    shown = name.replace("\x1b", "\\x1b").replace("\udcff", "\\udcff") if SCRIPTS[name] else "1"
    assert written == ["bee", shown, "" if SCRIPTS[name] else "labels for names that this font lacks"]


@pytest.mark.parametrize("side, channels", [(8, 1), (32, 3), (64, 3), (65, 3), (300, 3), ((4, 90), 1)])
def test_a_notebook_shows_a_small_picture_and_a_line(side, channels):
    from PIL import Image

    names = ["<script>alert(1)</script>", *(f"class {i}" for i in range(11))]
    made = condensed(names, ipc=9, side=8, channels=channels, method='"><b>', data="a\x1b[31m&b")
    h, w = side if isinstance(side, tuple) else (side, side)
    noise = torch.rand(len(made.labels), channels, h, w, generator=torch.Generator().manual_seed(0))
    text = dataclasses.replace(made, images=noise)._repr_html_()
    told = f"108 stored images of 12 classes, 9 a class, {channels} × {h} × {w}"
    line = f"&quot;&gt;&lt;b&gt; of a\\x1b[31m&amp;b: {told}"
    head, _, rest = text.partition("<img")
    assert head == f"<p>{line}</p>" and len(text) < 200_000
    (data,) = re.fullmatch(r' alt="[^"<>]*" src="data:image/png;base64,([\w+/=]+)">', rest).groups()
    sheet = Image.open(io.BytesIO(base64.b64decode(data)))
    assert sheet.format == "PNG" and 50 < sheet.width < 1200 and 50 < sheet.height < 1200


def test_a_shard_without_some_classes_has_a_sheet_and_empty_folders(tmp_path):
    made = condensed(("a", "b", "c"))
    part = dataclasses.replace(made, images=made.images[:3], labels=made.labels[:3] + 1)
    write_pictures(part, tmp_path)
    counts = {path.name: len(list(path.iterdir())) for path in (tmp_path / "images").iterdir()}
    assert counts == {"a": 0, "b": 3, "c": 0}
