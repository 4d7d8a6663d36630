"""Arrays larger than memory: piece by piece, with the same bits, and read where they lie."""

import weakref

import numpy as np
import pytest
import torch
from sample_files import Pictures, noise, stay_alone, turns, write_npy

from attar.data import on_disk
from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 8, 8)), (4096, (1, 8, 8)), (9001, (1, 8, 8)), (40, (3, 400, 400))])
def test_pieces_are_all_rows_in_order(n, shape):
    parts = [range(n)[some] for some in on_disk.pieces(np.empty((n, *shape), bool))]
    assert [row for part in parts for row in part] == list(range(n))
    assert all(0 < len(part) <= 4096 and len(part) * np.prod(shape) <= on_disk.PIECE for part in parts)


@pytest.mark.parametrize("limit", [on_disk.LIMIT, 0])
def test_gathered_rows_are_the_parts_together(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(on_disk, "LIMIT", limit)
    x = noise(40, 8, 6)
    made = on_disk.gather_rows((x[i : i + 9] for i in range(0, 40, 9)), 40)
    assert np.array_equal(made, x) and isinstance(made, np.memmap) == (limit == 0)
    assert on_disk.is_on_disk(on_disk.as_tensor(made)) == (limit == 0)
    on_disk.fetch_rows(on_disk.as_tensor(made), torch.tensor([[39, 0], [7, 7]]))
    assert np.array_equal(made, x)


@pytest.mark.parametrize("room, moves", [(10**6, True), (10, False)])
def test_images_from_a_file_move_to_a_device_that_holds_them(tmp_path, monkeypatch, room, moves):
    """Else a GPU would wait for the disk in every update."""
    monkeypatch.setattr("attar.data.task.room", lambda device: room)
    data = write_npy(tmp_path / "mine", noise(40, 8, 6), turns(40), noise(6, 8, 6), turns(6))
    moved = load_data(data).to(torch.device("meta"))
    assert moved.train.x.is_meta == moves and moved.train.y.is_meta and moved.test.x.is_meta


def test_other_types_than_bytes_and_floats_are_converted_a_piece_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(on_disk, "LIMIT", 0)
    monkeypatch.setattr(on_disk, "PIECE", 200)
    for x in (noise(40, 8, 8).astype(int), np.random.default_rng(0).random((40, 8, 8))):
        lying = load_data(write_npy(tmp_path / "mine", x, turns(40), x, turns(40)))
        assert lying.on_disk and np.array_equal(lying.train.x[:, 0], x.astype(lying.train.x.numpy().dtype))
    with pytest.raises(ValueError, match="hold 2 values that are NaN or infinite, the first in image 21"):
        x[[30, 21], 1, 1] = np.nan
        load_data((x, turns(40)))


def test_decoding_holds_an_image_at_a_time_where_the_set_is_large(tmp_path, monkeypatch):
    class Counted(np.ndarray):
        alive = most = 0

    class Rows(Pictures):
        def __getitem__(self, i):
            weakref.finalize(made := noise(8, 8).view(Counted), lambda: setattr(Counted, "alive", Counted.alive - 1))
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)
            return made, i % 2

    held = load_data(Rows(range(100)))
    Counted.most = 0
    monkeypatch.setattr(on_disk, "LIMIT", 0)
    task = load_data(Rows(range(100)))
    assert Counted.most <= 4 and task.on_disk and task.fingerprint == held.fingerprint
    assert not any((tmp_path / "cache/decoded").iterdir())
