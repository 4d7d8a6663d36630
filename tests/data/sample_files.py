"""Small files in the layouts that readers know, and what such files hold."""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import struct
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from attar.data import torchvision_files
from attar.data.known_sets import DATASETS

IDX = [name.removesuffix(".gz") for name in torchvision_files.LAYOUTS["MNIST"].files]


def stay_alone(tmp_path, monkeypatch):
    """A cache of each test's own, and no network."""
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path / "cache"))

    def refuse(*args, **kwargs):
        raise AssertionError("a test went to the network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def noise(*shape: int, mean: float = 0.5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, round(510 * mean) + 1, shape).astype(np.uint8)


def turns(n: int, classes: int = 2) -> np.ndarray:
    return np.arange(n) % classes


def with_value(value: float, *, where=(2, 3, 4)) -> np.ndarray:
    x = np.zeros((4, 8, 8))
    x[where] = value
    return x


def listing(folder: Path) -> list[tuple]:
    return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in [folder, *folder.rglob("*")])


def rewrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Another content under the same size and time."""
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(changed := change(content))
    assert len(changed) == len(content) and changed != content
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.astype(np.uint8).tobytes()


def write_idx(
    folder: Path, monkeypatch=None, mean: float = 0.1307, side: int = 28, source: str = "MNIST"
) -> list[Path]:
    """Four files of an MNIST; compressed, with their md5 for the official ones, where `monkeypatch` is given."""
    folder.mkdir(parents=True)
    arrays = noise(40, side, side, mean=mean), turns(40, 10), noise(20, side, side, mean=mean), turns(20, 10)
    for name, values in zip(IDX, arrays, strict=True):
        (folder / name).write_bytes(idx_bytes(values))
        if monkeypatch:
            (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
            (folder / name).unlink()
    files = sorted(folder.iterdir())
    if monkeypatch:
        official(monkeypatch, source, files)
    return files


def official(monkeypatch, source: str, files: list[Path], **other) -> None:
    layout = torchvision_files.LAYOUTS[source]
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in files}
    wanted = {name: sums.get(name, md5) for name, md5 in layout.files.items()}
    monkeypatch.setitem(torchvision_files.LAYOUTS, source, dataclasses.replace(layout, files=wanted, **other))


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def huge(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is that large."""
    whole, size = encoded(noise(8, 8)), struct.pack(">II", width, height)
    header = b"IHDR" + size + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def write_parquet(path: Path, pixels, y, columns=("img", "label"), names=None, cells=None) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    cells = cells or [{"bytes": encoded(p), "path": None} for p in pixels]
    features = {columns[0]: {"_type": "Image"}, columns[1]: {"_type": "ClassLabel", "names": names}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            columns[0]: pa.array(cells, kind),
            columns[1]: pa.array([None if v is None else int(v) for v in y], pa.int64()),
        }
    )
    meta = {"huggingface": json.dumps({"info": {"features": features}})} if names else {}
    pq.write_table(table.replace_schema_metadata(meta), path, row_group_size=8)
    return path


def write_cifar(folder: Path, name: str = "cifar10", **options) -> list[Path]:
    classes, known = 100 if name == "cifar100" else 10, DATASETS[name]
    x = colours(name, classes * 2) if known.shape[0] == 3 else noise(20, 28, 28, mean=0.13)
    names = [folder / f"{part}-00000-of-00001.parquet" for part in ("train", "test")]
    return [write_parquet(path, x, turns(len(x), classes), **options) for path in names]


def colours(name: str, n: int) -> np.ndarray:
    """Images of a known set's size and mean colour, channels last."""
    return np.stack([noise(n, 32, 32, mean=m) for m in DATASETS[name].mean], 3)


def write_npy(folder: Path, *arrays: np.ndarray) -> str:
    folder.mkdir(exist_ok=True)
    for name, values in zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=False):
        np.save(folder / f"{name}.npy", values)
    return f"npy:{folder}"


class Pictures(Dataset):
    """Items as they are given."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def pictures(mode: str = "L", n: int = 6, **options) -> Pictures:
    return Pictures([(Image.fromarray(p).convert(mode), i % 2) for i, p in enumerate(noise(n, 8, 6, 3))], **options)
