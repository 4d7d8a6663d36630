"""Datasets of torch, torchvision and the Hugging Face library, decoded item by item."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from sample_files import Pictures, encoded, huge, noise, pictures, stay_alone, turns
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split

import attar
from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)


def with_own(**own):
    """A dataset with attributes of its own."""
    data = pictures()
    vars(data).update(own)
    return data


def transparent(mode):
    """A picture one of whose colours is transparent, as in GIF and small PNG files."""
    image = Image.new(mode, (8, 8))
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("RGB", 3), ("1", 1), ("P", 3), ("LA", 1), ("RGBA", 3), ("CMYK", 3)]
)
def test_datasets_of_pil_images(mode, channels):
    task = load_data(pictures(mode, classes=["no", "yes"]))
    assert task.shape == (channels, 8, 6) and task.classes == ("no", "yes") and task.name == "pictures"
    assert task.train.x.dtype == torch.uint8


@pytest.mark.parametrize("mode", ["P", "L"])
def test_what_is_transparent_is_white(mode):
    clear = load_data(Pictures([(transparent(mode), 0), (transparent(mode), 1)] * 2)).train.x
    assert (clear == 255).all()


def test_grey_among_colour_becomes_colour():
    grey, colour = pictures("L").items[::2], pictures("RGB").items[1::2]
    x = load_data((Pictures(grey + colour), pictures("RGB"))).train.x
    assert x.shape == (6, 3, 8, 6) and torch.equal(x[0, 0], x[0, 1]) and not torch.equal(x[3, 0], x[3, 1])


def test_a_pair_of_datasets():
    task = load_data((pictures("RGB"), pictures("RGB", 4)))
    assert (len(task.train.y), len(task.test.y), task.split) == (6, 4, "test set")


def test_datasets_of_tensors_and_dictionaries():
    x, y = torch.rand(6, 3, 8, 8), torch.arange(6) % 2
    dictionaries = [{"img": a, "label": b} for a, b in zip(x.numpy(), y, strict=True)]
    for data in (TensorDataset(x, y), dictionaries, list(zip(x, "abaaab", strict=True))):
        given = (data, Pictures(list(zip(x, y, strict=True)))) if isinstance(data, Dataset) else data
        task = load_data(given)
        assert task.shape == (3, 8, 8) and len(task.classes) == 2


def test_datasets_of_hugging_face():
    hub = pytest.importorskip("datasets")
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=["no", "yes"])})
    rows = hub.Dataset.from_dict({"image": [p for p, _ in pictures()], "label": turns(6)}, features=features)
    task = load_data((rows, rows))
    assert task.shape == (1, 8, 6) and len(task.test.y) == 6
    for data in (rows, rows.with_format("numpy"), Subset(rows, range(5)), ConcatDataset([rows, rows])):
        assert load_data(data).classes == ("no", "yes")
    assert load_data(rows.cast_column("label", hub.Value("int64"))).classes == ("0", "1")


def test_names_that_do_not_fit_the_labels_are_left_alone():
    assert load_data(pictures(classes=["only"])).classes == ("0", "1")
    assert load_data(pictures(classes=["a", "b", "never seen"])).classes == ("a", "b")


@pytest.mark.parametrize(
    "own",
    [
        {"classes": np.array(["no", "yes"])},
        {"classes": {1: "yes", 0: "no"}},
        {"class_to_idx": {"yes": 1, "no": 0}},
        {"classes": lambda: None, "class_to_idx": {"no": 0, "yes": 1}},
    ],
)
def test_names_may_be_listed_or_in_a_table(own):
    assert load_data(with_own(**own)).classes == ("no", "yes")


@pytest.mark.parametrize("own", [{"classes": {1: "yes", 2: "no"}}, {"class_to_idx": {}}, {"classes": 2}])
def test_what_names_no_numbers_from_0_is_left_alone(own):
    assert load_data(with_own(**own)).classes == ("0", "1")


@pytest.mark.parametrize(("member", "told"), [("__len__", "the length of Broken"), ("classes", "the classes of the")])
def test_a_dataset_that_cannot_tell_what_it_is_gets_a_sentence(member, told):
    class Broken(Pictures):
        pass

    def broken(self):
        raise RuntimeError("not downloaded")

    data = Broken(pictures().items)
    setattr(Broken, member, broken if member == "__len__" else property(broken))
    with pytest.raises(ValueError, match=f"^{told}.* cannot be read: RuntimeError: not downloaded"):
        load_data(data)


def test_names_are_found_within_what_datasets_are_made_of():
    whole, unnamed = pictures(n=12, classes=["no", "yes"]), pictures(n=12)
    halves = random_split(whole, [6, 6], torch.Generator().manual_seed(0))
    for data in (
        tuple(halves),
        Subset(Subset(whole, range(10)), range(8)),
        ConcatDataset([unnamed, halves[0]]),
        Subset(ConcatDataset(halves), range(9)),
        ConcatDataset([whole, pictures(classes=["no", "yes", "perhaps"])]),
    ):
        assert load_data(data).classes == ("no", "yes")
    assert load_data(ConcatDataset([unnamed, unnamed])).classes == ("0", "1")
    with pytest.raises(ValueError, match="one calls 'no' what another calls 'yes'"):
        load_data(ConcatDataset([whole, pictures(classes=["yes", "no"])]))


class Stream(IterableDataset):
    def __len__(self):
        return 6

    def __iter__(self):
        return iter(pictures().items)


def archive():
    buffer = io.BytesIO()
    np.savez(buffer, x=noise(6, 8, 8), y=turns(6))
    buffer.seek(0)
    return np.load(buffer)


def table():
    return pytest.importorskip("pandas").DataFrame({"image": [noise(8, 8)] * 6, "label": turns(6)})


def arrow():
    return pytest.importorskip("pyarrow").table({"image": [b"", b""], "label": [0, 1]})


def sparse():
    return pytest.importorskip("scipy.sparse").eye(8).tocsr()


@pytest.mark.parametrize("make", [Stream, archive, table, arrow, sparse, lambda: Pictures, lambda: b"mnist", Dataset])
def test_what_only_looks_map_style(make):
    with pytest.raises(ValueError, match=r" is no data; expected .* or a dataset of pairs with a length and \[i\]"):
        load_data(make())


def test_a_dataset_may_keep_columns():
    data = pictures()
    data.columns = ["picture", "kind"]
    assert load_data(data).shape == (1, 8, 6)


def test_a_test_part_that_only_looks_map_style():
    with pytest.raises(ValueError, match="Stream is no data"):
        load_data((pictures(), Stream()))


class Raising(Pictures):
    def __init__(self, error):
        super().__init__(pictures().items)
        self.error = error

    def __getitem__(self, i):
        if i == 4:
            raise self.error
        return super().__getitem__(i)


@pytest.mark.parametrize(
    "error", [OSError("cut off"), KeyError("x"), ValueError("of the user"), IndexError(), Exception()]
)
def test_an_item_that_raises_is_named(error):
    for part, data in (("training", Raising(error)), ("test", (pictures(), Raising(error)))):
        with pytest.raises(ValueError, match=f"the {part} item 4 cannot be read: {type(error).__name__}") as caught:
            load_data(data)
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_what_is_no_fault_of_the_item_passes(error):
    with pytest.raises(type(error)):
        load_data(Raising(error))


def read_whole(path):
    with Image.open(path) as image:
        return image.convert("L")


def read_file(path):
    """As torchvision's ImageFolder does it."""
    with path.open("rb") as file:
        return Image.open(file).convert("L")


@pytest.mark.parametrize("wrap", [Subset, lambda data, rows: ConcatDataset([data]), lambda data, rows: data])
@pytest.mark.parametrize("read", [Image.open, read_whole, read_file])
def test_a_damaged_file_is_named_with_its_item(tmp_path, read, wrap):
    paths, opened = [tmp_path / f"{i}.png" for i in range(6)], []
    for i, path in enumerate(paths):
        path.write_bytes(encoded(noise(64, 64))[: 2000 if i == 3 else None])

    class Files(Pictures):
        def __getitem__(self, i):
            opened.append(read(self.items[i]))
            return opened[-1], i % 2

    with pytest.raises(ValueError, match=r"the training item 3 \(.*3.png\) cannot be read: OSError: .*truncated"):
        load_data(wrap(Files(paths), range(6)))
    for image in opened:
        image.close()


class Flipped(Pictures):
    """Mirrored by chance, as by RandomHorizontalFlip."""

    def __getitem__(self, i):
        image, label = super().__getitem__(i)
        return (image[:, ::-1] if np.random.default_rng().random() < 0.5 else image), label


class Cropped(Pictures):
    """Of another size at each reading."""

    def __getitem__(self, i):
        self.reads = getattr(self, "reads", 0) + 1
        image, label = super().__getitem__(i)
        return (image if self.reads % 2 else image[1:]), label


def test_random_transforms_are_said_once(caplog):
    items = [(image, i % 2) for i, image in enumerate(noise(40, 8, 8))]
    load_data(Pictures(items))
    load_data(Pictures([(torch.full((8, 8), 0.5), i % 2) for i in range(4)]))
    assert not caplog.records
    load_data(Flipped(items))
    assert len(caplog.records) == 1 and "is another image each time it is read" in caplog.text
    caplog.clear()
    with pytest.raises(ValueError, match="all must have one size"):
        load_data(Cropped(items))
    assert "the training item 0 is another image each time it is read" in caplog.text


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "the training images are empty"),
        (
            [(np.zeros((8, 8)), 0), (np.zeros((8, 9)), 1)],
            "the training image 1 is 8x9 float64, but the first is 8x8 float64; all must have one size",
        ),
        (
            [(Image.new("L", (8, 8)), 0), (Image.new("L", (8, 9)), 1)],
            "the training image 1 is 3x9x8 uint8, but the first is 3x8x8 uint8; all must have one size",
        ),
        ([(Image.new("LAB", (8, 8)), 0)], "the training image 0 has the mode LAB; convert it to L or RGB$"),
        ([("cat.png", 0)], "the training image 0 is of type str; expected a PIL image, a tensor or an array"),
        ([(3, np.zeros((8, 8)))], "the training image 0 is of type int; expected a PIL image"),
        ([np.zeros((8, 8))], "the training item 0 is no pair"),
        ([{"picture": 1, "label": 0}], "the training item 0 is no pair"),
        ([(torch.randn(3, 8, 8), i % 2) for i in range(4)], "undo any normalisation"),
        ([(torch.rand(3, 8, 8), torch.eye(3)[i]) for i in range(3)], "the training labels have the shape 3x3"),
    ],
)
def test_datasets_that_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        load_data(Pictures(items))


def test_a_picture_too_large_to_decode_is_named():
    class Rows(Pictures):
        def __getitem__(self, i):
            return (Image.open(io.BytesIO(huge(60_000, 60_000))), 1) if i == 2 else super().__getitem__(i)

    with pytest.raises(ValueError, match=r"the training item 2 cannot be read: DecompressionBombError: .* pixels"):
        load_data(Rows(pictures().items))


def test_a_run_on_other_images_is_not_gone_on_with_and_shows_no_hash(tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total, loss):
        if done == 4:
            raise Stop

    class Shifted(Pictures):
        def __getitem__(self, i):
            image, label = super().__getitem__(i)
            return np.roll(np.asarray(image), np.random.default_rng().integers(1, 6), 1), label

    options = {"method": "dm", "ipc": 1, "updates": 8, "batch_real": 4, "out": tmp_path / "run"}
    with pytest.raises(Stop):
        attar.condense(Shifted(pictures(n=24).items), **options, progress=stop)
    with pytest.raises(ValueError, match=r"run holds a run on other images: the data has changed since it began$"):
        attar.condense(Shifted(pictures(n=24).items), **options, resume=True)


@pytest.mark.parametrize("extra", ["img", "labels"])
def test_an_item_with_two_candidates_for_one_role_is_refused(extra):
    item = {"image": np.zeros((4, 4), np.uint8), "label": 0}
    items = [item | {extra: item["image"] if extra == "img" else 1}] * 12
    with pytest.raises(ValueError, match="either of which may be meant"):
        load_data(items)
