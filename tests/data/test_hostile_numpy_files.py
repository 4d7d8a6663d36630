"""NumPy files that lie, are encrypted or do not fit: one sentence each, before anything is read."""

import struct
import zipfile

import numpy as np
import pytest
from sample_files import noise, stay_alone, turns, write_npy

from attar.data import numpy_files
from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)


def header(shape: str, dtype: str = "|u1", version: int = 1) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


LYING = {
    "more than it holds": header("(1000000, 28, 28)") + bytes(100),
    "more than any machine": header("(1000000000, 1000000000, 1000000000)") + bytes(100),
    "more than a number of 64 bits": header(f"({2**62}, 8, 8)") + bytes(100),
    "letters without end": header("(4,)", f"<U{2**30 - 1}") + bytes(100),
    "a negative length": header("(-4, 8, 8)") + bytes(4096),
    "no shape": header("None") + bytes(4096),
    "brackets without end": header("(" * 4900 + ")" * 4900),
    "a header that is too long": header("(4, 8, 8)" + " " * 20_000) + bytes(256),
    "a header cut off": header("(4, 8, 8)")[:20],
    "another format": header("(4, 8, 8)", version=3) + bytes(256),
    "a format of the future": header("(4, 8, 8)", version=9) + bytes(256),
    "nothing": b"",
}


@pytest.mark.parametrize("content", LYING.values(), ids=LYING)
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_a_header_that_lies(tmp_path, kind, content):
    data = write_npy(tmp_path / "mine", noise(4, 8, 8), turns(4))
    (tmp_path / "mine/x_train.npy").write_bytes(content)
    told = "x_train.npy is damaged, or no npy file: "
    if kind == "npz":
        data, told = f"npz:{tmp_path / 'mine.npz'}", "mine.npz is damaged: cannot read x: "
        with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
            archive.writestr("x.npy", content)
            archive.write(tmp_path / "mine/y_train.npy", "y.npy")
    with pytest.raises(ValueError, match=told) as refusal:
        load_data(data)
    sentence = str(refusal.value)
    assert "\n" not in sentence and len(sentence) < 500 and "allow_pickle" not in sentence


def write_npz(path, **options) -> str:
    np.savez_compressed(path, x=noise(40, 8, 8), y=turns(40), **options)
    return f"npz:{path}"


def change(path, at: int, to: bytes) -> None:
    """Both places where a zip tells of its first file: before it, and in the list at the end."""
    content = bytearray(path.read_bytes())
    for start, mark in ((content.index(b"PK\3\4"), at), (content.index(b"PK\1\2"), at + 2)):
        content[start + mark : start + mark + len(to)] = to
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("at", "to"),
    [
        (6, b"\1\0"),  # a flag: encrypted
        (6, b"\x41\0"),  # strongly
        (8, b"\x63\0"),  # a way of packing that Python has not
        (8, b"\x0c\0"),  # another than it is packed in
        (8, b"\x0e\0"),
    ],
)
def test_a_zip_that_cannot_be_unpacked(tmp_path, at, to):
    data = write_npz(tmp_path / "mine.npz")
    change(tmp_path / "mine.npz", at, to)
    with pytest.raises(ValueError, match=r"mine.npz is damaged: cannot read x: ") as refusal:
        load_data(data)
    assert "\n" not in str(refusal.value)


def test_a_size_that_does_not_hold(tmp_path):
    """The list at the end of the archive says that there is less."""
    path = tmp_path / "mine.npz"
    for length in (10, 200):
        data = write_npz(path)
        content = bytearray(path.read_bytes())
        start = content.index(b"PK\1\2") + 24
        content[start : start + 4] = struct.pack("<I", length)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"mine.npz is damaged: cannot read x: "):
            load_data(data)


def test_an_archive_that_unpacks_to_more_than_the_memory(tmp_path, monkeypatch):
    data = write_npz(tmp_path / "mine.npz")
    monkeypatch.setattr(numpy_files, "free_memory", lambda: 2000.0)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was read"))
    told = "x unpacks to 2.7 kB, more than the 2.0 kB of memory that are free: as npy:FOLDER it may be larger"
    with pytest.raises(ValueError, match=told):
        load_data(data)
