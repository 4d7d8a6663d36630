"""Pictures of every kind as bytes: upright, grey or colour, of one size; what cannot be decoded is named."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_files import encoded, huge, noise, stay_alone

from attar.data import on_disk
from attar.data.decoding import Decoded, Decoding, Encoded, decode_pictures, propose_size

alone = pytest.fixture(autouse=True)(stay_alone)
GREY, COLOUR = noise(6, 8), noise(6, 8, 3)


def saved(picture: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def decode(*sources: bytes | Path, known: bool = False, **options) -> Decoded:
    def read() -> Iterator[Encoded]:
        return (Encoded(f"picture {i}", source, i) for i, source in enumerate(sources))

    return decode_pictures(read, len(sources), None if known else Decoding(**options), "decoding", quiet=True)


def pixels(source: bytes, **options) -> np.ndarray:
    """Of one picture: `(h, w)` where it is grey, else `(h, w, 3)`."""
    x = decode(source, **options).x
    assert x.dtype == np.uint8 and x.flags.c_contiguous
    return x[0, 0] if x.shape[1] == 1 else x[0].transpose(1, 2, 0)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_grey_stays_grey_to_the_bit(kind):
    assert np.array_equal(pixels(saved(GREY, kind)), GREY)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_colour_stays_colour_to_the_bit(kind):
    assert np.array_equal(pixels(saved(COLOUR, kind)), COLOUR)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("MPO", {})])
@pytest.mark.parametrize("size", [None, 8])
def test_lossy_kinds(kind, options, size):
    ramp = np.linspace(0, 255, 64).repeat(3 * 48).reshape(64, 48, 3).astype(np.uint8)
    read = pixels(saved(ramp, kind, **options), size=size)
    assert read.shape == ((8, 8, 3) if size else ramp.shape)
    centre = ramp[8:56].reshape(8, 6, 48, 3).mean(1)[:, :8] if size else ramp
    assert np.abs(read - centre.astype(float)).mean() < 3


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr"])
def test_modes_become_grey_or_colour(mode):
    picture = Image.fromarray(COLOUR).convert(mode)
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    plain = picture.convert("L" if mode == "1" else "RGB")
    assert np.array_equal(pixels(saved(picture, kind)), plain)


def test_a_photograph_in_the_colours_of_printers():
    red = Image.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK")
    assert np.abs(pixels(saved(red, "JPEG")) - [255.0, 0, 0]).max() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(kind):
    deep = np.array([0, 128, 129, 257, 32896, 65406, 65407, 65535], np.uint16).reshape(1, 8).repeat(4, 0)
    assert pixels(saved(deep, kind))[0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_what_is_transparent_is_white(mode):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste((10, 10, 10, 255) if mode == "LA" else (200, 10, 10, 255), (0, 0, 4, 8))
    kind = "TIFF" if mode == "PA" else "PNG"
    picture = clear.convert("P").convert("PA") if mode == "PA" else clear.convert(mode)
    if mode == "PA":
        picture.putalpha(clear.getchannel("A"))
    read = pixels(saved(picture, kind))
    assert read.ndim == (2 if mode == "LA" else 3)
    assert (read[:, :4] == (10 if mode == "LA" else [200, 10, 10])).all() and (read[:, 4:] == 255).all()


def test_half_transparent_is_halfway_to_white():
    assert pixels(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))).max() == 127


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_colour_may_be_transparent(mode):
    picture = Image.new(mode, (8, 8), 1 if mode == "1" else 0)
    clear = (0, 0, 0) if mode == "RGB" else 0
    if mode == "1":
        picture = Image.new("1", (8, 8), 0)
    assert (pixels(saved(picture, transparency=clear)) == 255).all()


def test_a_deep_grey_may_be_transparent():
    assert (pixels(saved(np.zeros((8, 8), np.uint16), transparency=0)) == 255).all()


def test_of_a_film_the_first_picture_counts():
    frames = [Image.new("L", (8, 8), value) for value in (40, 200)]
    for kind in ("GIF", "TIFF", "PNG", "WEBP"):
        read = pixels(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert np.abs(read - 40.0).max() < 4, kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("orientation", "turns"), [(6, -1), (8, 1), (3, 2), (1, 0)])
def test_a_photograph_stands_as_the_camera_was_held(kind, orientation, turns):
    turned = Image.Exif()
    turned[0x0112] = orientation
    flat = np.zeros((32, 48, 3), np.uint8)
    flat[:8] = 255  # what was stored first is bright
    read = pixels(saved(flat, kind, exif=turned)).astype(float)
    assert np.abs(read - np.rot90(flat, turns)).mean() < 4


def test_a_palette_of_greys_is_grey():
    assert np.array_equal(pixels(saved(Image.fromarray(GREY).convert("P"))), GREY)


def test_grey_among_colour_becomes_colour():
    read = decode(saved(GREY), saved(COLOUR), saved(GREY))
    assert read.x.shape == (3, 3, 6, 8) and read.y == [0, 1, 2]
    assert all(np.array_equal(layer, GREY) for i in (0, 2) for layer in read.x[i])
    assert np.array_equal(read.x[1].transpose(1, 2, 0), COLOUR)


@pytest.mark.parametrize("others", [[], [COLOUR]])
def test_what_exceeds_the_memory_has_the_same_bits(monkeypatch, others):
    sources = [saved(GREY + i) for i in range(40)] + [saved(other) for other in others]
    first = decode(*sources, b"broken", skip_damaged=True)
    monkeypatch.setattr(on_disk, "LIMIT", 0)
    again = decode(*sources, b"broken", skip_damaged=True)
    assert isinstance(again.x, np.memmap) and np.array_equal(first.x, again.x) and first.y == again.y


@pytest.mark.parametrize("shape", [(20, 40), (40, 20), (10, 30), (4, 8), (40, 40)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_size_takes_the_centre(shape, kind):
    picture = np.zeros((*shape, 3), np.uint8)
    h, w = shape
    side = min(shape)
    picture[(h - side) // 2 : (h + side) // 2, (w - side) // 2 : (w + side) // 2] = 200
    read = pixels(saved(picture, kind), size=10)
    assert read.shape == (10, 10, 3) and np.abs(read[2:-2, 2:-2] - 200.0).mean() < 6


def test_a_smaller_size_averages():
    """Else fine patterns would leave stripes."""
    stripes = (np.arange(64) % 2 * 255).astype(np.uint8)[None].repeat(64, 0)
    assert np.abs(pixels(saved(stripes), size=16)[:, 1:-1] - 127.5).max() < 3


@pytest.mark.parametrize(
    ("shapes", "proposed"),
    [([(100, 120), (120, 100)], 64), ([(20, 24), (8, 9), (31, 30)], 8), ([(400, 300), (500, 600)], 128)],
)
def test_mixed_sizes_are_one_sentence_that_proposes_one(shapes, proposed):
    sources = [saved(np.zeros(shape, np.uint8)) for shape in shapes]
    h, w = shapes[1]
    told = rf"^picture 1 is {h}x{w}, but picture 0 is .*: all must have one size; .*={proposed}\), or --size {proposed}"
    with pytest.raises(ValueError, match=told):
        decode(*sources, b"damaged")
    assert decode(*sources, size=proposed).x.shape == (len(shapes), 1, proposed, proposed)
    with pytest.raises(ValueError, match=r"all must have one size$"):
        decode(*sources, known=True)


@pytest.mark.parametrize(("side", "proposed"), [(1, 4), (4, 4), (31, 16), (32, 32), (127, 64), (5000, 128)])
def test_a_proposed_size_is_no_larger_than_the_pictures(side, proposed):
    assert propose_size(side) == proposed


BAD = {
    "empty": (b"", "is empty"),
    "text": (b"nonsense", "is damaged, or no JPEG, PNG, WebP, GIF, BMP or TIFF"),
    "cut off": (encoded(noise(64, 64))[:2000], "is damaged: OSError: .*truncated"),
    "half a photograph": (saved(noise(64, 64), "JPEG")[:900], "is damaged: OSError: .*truncated"),
    "too large": (huge(60_000, 60_000), r"is too large: .*3600000000 pixels"),
    "another kind": (saved(COLOUR, "EPS"), "is damaged, or no JPEG"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_decoded_is_named(case, caplog):
    bad, told = BAD[case]
    sources = [saved(GREY), bad, saved(GREY + 1)]
    with pytest.raises(
        ValueError, match=f"^picture 1 {told}.*; load_data.skip_damaged=True., or --skip-damaged, leaves"
    ):
        decode(*sources)
    with pytest.raises(ValueError, match=f"^picture 1 {told}(?!.*skip)"):
        decode(*sources, known=True)
    assert not caplog.records
    read = decode(*sources, skip_damaged=True)
    assert read.y == [0, 2] and read.damaged == ["picture 1"] and np.array_equal(read.x[:, 0], [GREY, GREY + 1])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "left out 1 of 3 pictures" in record.message
    assert record.message.endswith(": 'picture 1'")


def test_many_damaged_pictures_are_one_warning(caplog):
    read = decode(*[b""] * 9, skip_damaged=True)
    assert len(read.x) == 0 and len(read.damaged) == 9
    (record,) = caplog.records
    assert record.message.endswith("'picture 4' and 4 more")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_kind_of_unknown_scale_is_refused_even_among_damaged(mode):
    with pytest.raises(ValueError, match=f"^picture 0 has the mode {mode}; convert it to L or RGB$"):
        decode(saved(Image.new(mode, (8, 8)), "TIFF"), skip_damaged=True)


def test_a_file_that_cannot_be_read_is_no_damage(tmp_path):
    (tmp_path / "a.png").write_bytes(saved(GREY))
    assert np.array_equal(decode(tmp_path / "a.png").x[0, 0], GREY)
    with pytest.raises(ValueError, match=r"^picture 0 cannot be read: No such file"):
        decode(tmp_path / "gone.png", skip_damaged=True)


@pytest.mark.parametrize("size", [3, 0, -8])
def test_sizes_that_are_none(size):
    with pytest.raises(ValueError, match=f"size is {size}; expected at least 4 pixels"):
        Decoding(size=size)
