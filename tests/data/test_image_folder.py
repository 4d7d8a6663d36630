"""Folders of pictures: their parts and classes, what is left alone, what is refused by name, and what is kept."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from sample_files import encoded, listing, noise, stay_alone

from attar.data import image_folder
from attar.data.load import load_data

CLASSES = ("cats", "dogs")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """Not among the pictures, which lie in `tmp_path` itself."""
    folder = tmp_path_factory.mktemp("alone")
    stay_alone(folder, monkeypatch)
    return folder / "cache" / "decoded"


def write_classes(folder: Path, classes=CLASSES, n: int = 6, shape=(8, 8, 3), first: int = 0) -> Path:
    """`n` pictures of each class, which differ from those of another `first`."""
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            (folder / name / f"{i}.png").write_bytes(encoded(noise(*shape) + np.uint8(16 * c + i + first)))
    return folder


def write_parts(folder: Path, *parts: str) -> Path:
    for i, part in enumerate(parts):
        write_classes(folder / part, n=6 - i, first=50 * i)
    return folder


def names(task) -> list[str]:
    return [task.classes[y] for y in task.train.y.tolist()]


def refused(folder: Path, message: str, **options) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_data(f"folder:{folder}", **options)
    assert "\n" not in str(caught.value)


def test_folders_are_classes_in_alphabetical_order(tmp_path):
    write_classes(tmp_path / "photos", ("zebra", "Ant", "bee 2", "äffchen"), n=20)
    before = listing(tmp_path / "photos")
    task = load_data(f"folder:{tmp_path / 'photos'}")
    assert task.classes == ("Ant", "bee 2", "zebra", "äffchen") and task.name == "photos" and not task.flip
    assert task.shape == (3, 8, 8) and task.train.x.dtype == torch.uint8 and task.counts.tolist() == [18] * 4
    assert task.split.startswith("hold-out: 10 %") and listing(tmp_path / "photos") == before


def test_a_picture_gets_the_label_of_its_folder(tmp_path):
    write_classes(tmp_path)
    task = load_data(f"folder:{tmp_path}", split="held-out")
    by_class = {c: [noise(8, 8, 3) + np.uint8(16 * c + i) for i in range(6)] for c in range(2)}
    for x, y in zip(task.train.x, task.train.y.tolist(), strict=True):
        assert any(np.array_equal(x.permute(1, 2, 0), picture) for picture in by_class[y])


def test_the_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    write_classes(tmp_path / "photos")
    first = load_data(f"folder:{tmp_path / 'photos'}")
    order = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: reversed(list(order(path))))
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "other"))
    assert load_data(f"folder:{tmp_path / 'photos'}").fingerprint == first.fingerprint


@pytest.mark.parametrize("train", ["train", "Train", "training"])
@pytest.mark.parametrize(
    ("part", "split", "told"),
    [
        ("test", None, "test set"),
        ("test", "test", "test set"),
        ("val", "validation", "validation set"),
        ("valid", "validation", "validation set"),
        ("validation", None, "validation set"),
    ],
)
def test_parts_are_folders_above_the_classes(tmp_path, train, part, split, told):
    task = load_data(f"folder:{write_parts(tmp_path, train, part)}", split=split)
    assert (task.split, len(task.train.y), len(task.test.y), task.classes) == (told, 12, 10, CLASSES)
    assert np.array_equal(task.test.x[0].permute(1, 2, 0), noise(8, 8, 3) + np.uint8(50))


def test_a_part_that_is_not_used_is_said_and_not_looked_at(tmp_path, caplog):
    write_parts(tmp_path, "train", "test", "val")
    (tmp_path / "val" / "cats" / "0.png").write_bytes(b"broken")
    assert load_data(f"folder:{tmp_path}").split == "test set"
    assert "not used: val" in caplog.text and "--split validation" in caplog.text
    refused(tmp_path, "val/cats/0.png is damaged", split="validation")
    assert load_data(f"folder:{tmp_path}", split="held-out").split.startswith("hold-out")


def test_secret_labels_of_a_test_part_do_no_harm_where_it_does_not_judge(tmp_path):
    write_parts(tmp_path, "train")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(encoded(noise(8, 8)))
    refused(tmp_path, r"test holds pictures and no class folders \('1.png'\); expected a folder for each class")
    assert len(load_data(f"folder:{tmp_path}", split="held-out").train.y) == 10


def test_a_part_that_lacks(tmp_path):
    write_parts(tmp_path / "parts", "train")
    write_classes(tmp_path / "plain")
    refused(tmp_path / "parts", "split is test, but parts has no test part", split="test")
    refused(tmp_path / "parts", "split is validation, but .*parts has no such part", split="validation")
    refused(
        tmp_path / "plain", "split is validation, but .*plain has no parts, only the folders 'cats'", split="validation"
    )
    write_parts(tmp_path / "both", "train", "val")
    refused(tmp_path / "both", "split is test, but both has no test part", split="test")
    write_parts(tmp_path / "none", "test", "val")
    refused(tmp_path / "none", "none has the parts test, val; expected train")


def test_a_class_may_be_called_as_a_part(tmp_path):
    task = load_data(f"folder:{write_classes(tmp_path, ('bus', 'train'))}")
    assert task.classes == ("bus", "train")


def test_parts_beside_other_folders_are_no_guess(tmp_path):
    write_classes(write_parts(tmp_path, "train") / "more")
    refused(tmp_path, "holds 'train', as parts are called, beside other folders: .* folder:.*/train")
    write_classes(tmp_path / "again" / "cats", ("train", "test"))
    write_classes(tmp_path / "again" / "dogs", ("train", "test"))
    refused(tmp_path / "again", "cats holds a folder train: parts hold classes")


def test_pictures_may_lie_deeper(tmp_path):
    write_classes(tmp_path / "cats", ("2023", "2024"))
    write_classes(tmp_path, ("dogs",))
    task = load_data(f"folder:{tmp_path}", split="held-out")
    assert task.classes == CLASSES and len(task.train.y) + len(task.test.y) == 18


def test_what_systems_leave_is_left_alone(tmp_path, caplog):
    write_classes(tmp_path)
    for litter in ("__MACOSX", ".hidden", "@eaDir"):
        write_classes(tmp_path / litter)
        write_classes(tmp_path / "cats" / litter)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (tmp_path / name).write_bytes(b"\0")
        (tmp_path / "cats" / name).write_bytes(b"\0")
    assert names(load_data(f"folder:{tmp_path}", split="held-out")).count("cats") == 5
    assert not caplog.records


def test_other_files_are_left_alone_and_counted(tmp_path, caplog):
    write_classes(tmp_path)
    (tmp_path / "labels.csv").write_text("0.png,cats\n")
    for i in range(7):
        (tmp_path / "cats" / f"{i}.json").write_text("{}")
    load_data(f"folder:{tmp_path}")
    (record,) = caplog.records
    assert "8 files that are no pictures are left alone: 'labels.csv', 'cats/0.json'" in record.message
    assert record.message.endswith("and 3 more")


def test_the_content_counts_and_not_the_ending(tmp_path):
    write_classes(tmp_path)
    for i, name in enumerate(("0.jpg", "1", "2.jpeg.bak", "3.TIFF")):
        (tmp_path / "cats" / f"{i}.png").rename(tmp_path / "cats" / name)
    assert names(load_data(f"folder:{tmp_path}", split="held-out")).count("cats") == 5


@pytest.mark.parametrize("content", [b"", b"nonsense", encoded(noise(64, 64))[:900]])
def test_a_damaged_picture_is_named_or_left_out(tmp_path, caplog, content):
    write_classes(tmp_path)
    (tmp_path / "dogs" / "2.png").write_bytes(content)
    refused(tmp_path, "^.*/dogs/2.png is (empty|damaged).*--skip-damaged")
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        task = load_data(f"folder:{tmp_path}", skip_damaged=True, split="held-out")
        assert len(task.train.y) + len(task.test.y) == 11
        (record,) = caplog.records
        assert "left out 1 of 12 pictures" in record.message and "dogs/2.png" in record.message


def test_a_class_all_of_whose_pictures_are_damaged(tmp_path):
    write_classes(tmp_path)
    for file in (tmp_path / "dogs").iterdir():
        file.write_bytes(b"nonsense")
    refused(tmp_path, "dogs holds no picture that can be decoded", skip_damaged=True)


def test_sizes_that_differ_propose_one(tmp_path):
    write_classes(tmp_path, ("cats",), shape=(40, 60, 3))
    write_classes(tmp_path, ("dogs",), shape=(70, 50))
    refused(tmp_path, r"dogs/0.png is 70x50, but .*cats/0.png is 40x60: .*load_data\(size=32\), or --size 32, resizes")
    assert load_data(f"folder:{tmp_path}", size=32).shape == (3, 32, 32)


def test_folders_that_are_refused(tmp_path):
    refused(tmp_path / "gone", "no such folder: .*gone$")
    refused(tmp_path, "holds no class folders; expected a folder for each class, as .*/CLASS/PICTURE$")
    (tmp_path / "a.png").write_bytes(encoded(noise(8, 8)))
    refused(tmp_path, r"holds pictures and no class folders \('a.png'\)")
    write_classes(tmp_path)
    refused(tmp_path, r"holds pictures beside its class folders \('a.png'\)")
    (tmp_path / "a.png").unlink()
    (tmp_path / "birds").mkdir()
    refused(tmp_path, "birds holds no pictures, and so is no class$")
    write_classes(tmp_path / "one", ("cats",))
    refused(tmp_path / "one", "one holds one class folder, 'cats': two are needed")


def test_a_class_of_the_test_part_alone(tmp_path):
    write_parts(tmp_path, "train", "test")
    write_classes(tmp_path / "test", ("birds",))
    refused(tmp_path, "test holds class folders that .*train does not: 'birds'")


def test_links_are_followed_but_in_no_circle(tmp_path):
    write_classes(tmp_path / "store")
    (tmp_path / "photos").mkdir()
    for name in CLASSES:
        (tmp_path / "photos" / name).symlink_to(tmp_path / "store" / name)
    assert load_data(f"folder:{tmp_path / 'photos'}").classes == CLASSES
    (tmp_path / "store" / "cats" / "all").symlink_to(tmp_path / "store" / "cats")
    refused(tmp_path / "photos", "cats/all is a link to a folder in which it lies")
    (tmp_path / "store" / "cats" / "all").unlink()
    for target in ("gone.png", "self.png"):
        (tmp_path / "store" / "cats" / "self.png").symlink_to(target)
        refused(tmp_path / "photos", "cats/self.png is a link to nothing")
        (tmp_path / "store" / "cats" / "self.png").unlink()


def test_what_is_no_file_is_not_waited_for(tmp_path):
    write_classes(tmp_path)
    os.mkfifo(tmp_path / "cats" / "pipe.png")
    refused(tmp_path, "cats/pipe.png is no regular file")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    write_classes(tmp_path)
    read = Path.read_bytes

    def refuse(path):
        if path.name == "3.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    refused(tmp_path, "cats/3.png cannot be read: Permission denied$", skip_damaged=True)


def test_an_accent_is_one_class_however_it_is_spelled(tmp_path):
    both = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    write_classes(tmp_path / "train", (both[0], "bar"))
    write_classes(tmp_path / "test", (both[1], "bar"))
    assert load_data(f"folder:{tmp_path}").classes == ("bar", both[0])


@pytest.fixture
def decodings(monkeypatch) -> list[str]:
    """What has been decoded, as it happens."""
    seen, decode = [], image_folder.decode_pictures
    monkeypatch.setattr(image_folder, "decode_pictures", lambda *rest: (seen.append(rest[3]), decode(*rest))[1])
    return seen


def test_what_is_decoded_once_is_cached(tmp_path, decodings):
    folder = write_parts(tmp_path / "photos", "train", "test")
    first, second = (load_data(f"folder:{folder}") for _ in range(2))
    assert len(decodings) == 2 and first.fingerprint == second.fingerprint and first.classes == second.classes
    assert torch.equal(first.test.x, second.test.x) and torch.equal(first.test.y, second.test.y)
    for options in ({"size": 16}, {"size": 20}, {"skip_damaged": True}, {"split": "held-out"}):
        decodings.clear()
        load_data(f"folder:{folder}", **options)
        load_data(f"folder:{folder}", **options)
        assert len(decodings) == (1 if "split" in options else 2)


@pytest.mark.parametrize("change", ["content", "touch", "add", "remove", "rename"])
def test_a_change_is_decoded_anew_in_the_same_place(tmp_path, cache, decodings, change):
    folder = write_classes(tmp_path / "photos")
    load_data(f"folder:{folder}")
    file = folder / "cats" / "0.png"
    if change == "content":  # of the same size, under the same time
        before = file.stat()
        file.write_bytes(encoded(noise(8, 8, 3) + np.uint8(1)).ljust(before.st_size, b"\0")[: before.st_size])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "touch":
        file.touch()
    elif change == "add":
        (folder / "cats" / "new.png").write_bytes(encoded(noise(8, 8, 3)))
    elif change == "remove":
        file.unlink()
    else:
        file.rename(folder / "dogs" / "6.png")
    load_data(f"folder:{folder}")
    assert len(decodings) == 2 and len(list(cache.glob("*.safetensors"))) == 1


def test_a_damaged_cache_is_made_anew_and_that_is_said(tmp_path, cache, decodings, caplog):
    folder = write_classes(tmp_path / "photos")
    first = load_data(f"folder:{folder}")
    (path,) = cache.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    assert load_data(f"folder:{folder}").fingerprint == first.fingerprint and len(decodings) == 2
    assert f"{path} is damaged" in caplog.text and "photos is decoded anew" in caplog.text


def test_what_exceeds_the_memory_is_not_cached_and_has_the_same_bits(tmp_path, monkeypatch):
    folder = write_parts(tmp_path / "photos", "train", "test")
    first = load_data(f"folder:{folder}")
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "other"))
    for module in ("on_disk", "image_folder"):
        monkeypatch.setattr(f"attar.data.{module}.LIMIT", 0)
    again = load_data(f"folder:{folder}")
    assert again.on_disk and again.fingerprint == first.fingerprint and torch.equal(again.test.x, first.test.x)
    assert not list((tmp_path / "other" / "decoded").iterdir())
