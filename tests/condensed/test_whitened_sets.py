"""Sets whose images are whitened, and that have a learned step size: kept, viewed, judged, and refused by part."""

import dataclasses
import json
import math

import pytest
import torch
from conftest import toy
from safetensors.torch import load_file
from small_sets import condensed, whitened
from test_card import run_code

from attar.condensed.card import make_card
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import MANIFEST, TENSORS, load, save
from attar.data.whitening import Whitening
from attar.engine.run import Run
from attar.files import hash_file, read_tensors, write_tensors
from attar.rng import Rng
from attar.synthesis.pixels import Pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_is_loaded_again(channels, tmp_path):
    made = whitened(channels)
    read = load(save(made, tmp_path))
    assert read.normalisation == made.normalisation and read.step_size == made.step_size == 0.0123
    assert torch.equal(read.as_dataset().tensors[0], made.as_dataset().tensors[0])
    assert torch.equal(read.pictures(), made.pictures())
    assert torch.equal(load_file(tmp_path / TENSORS)["whitening"], made.normalisation.matrix)


def test_whitening_is_undone_for_viewing():
    made, plain = whitened(3), condensed(channels=3)
    assert not torch.allclose(made.images, plain.decoded(), atol=0.1)
    assert (made.pictures().int() - plain.pictures().int()).abs().max() <= 1
    back = made.renormalised(made.normalisation.plain)
    torch.testing.assert_close(back.decoded(), plain.decoded(), rtol=0, atol=1e-4)
    assert back.renormalised(back.normalisation) is back and back.step_size == made.step_size


def test_pixels_on_the_unit_interval_are_whitened_as_they_are_read():
    plain = condensed(channels=3)
    seen = plain.renormalised(whitened(3).normalisation)
    assert torch.equal(seen.images, plain.images) and torch.equal(
        seen.decoded(), seen.normalisation.to_network(plain.images)
    )
    eight_bit, exact = (seen.as_dataset(eight_bit=kind).tensors[0] for kind in (True, False))
    assert 0 < (eight_bit - exact).abs().max() < 0.5


def test_the_bytes_of_the_matrix_count_by_themselves():
    made, plain = whitened(3), condensed(channels=3)
    assert made.bytes == plain.bytes | {"whitening": (192 * 192 + 192) * 4} and plain.bytes["whitening"] == 0


def test_the_code_of_the_card_runs_and_whitens_pictures_too(tmp_path, monkeypatch):
    pytest.importorskip("torchvision.datasets")
    made = whitened(3, method="mtt", data="insects")
    save(made, tmp_path)
    names = run_code(tmp_path, monkeypatch)
    assert names["optimiser"].param_groups[0]["lr"] == 0.0123
    images = torch.stack([image for image, _ in names["images"]])
    torch.testing.assert_close(images, made.as_dataset(eight_bit=True).tensors[0], rtol=0, atol=1e-4)


def test_the_card_tells_of_both():
    text = make_card(whitened(3))
    assert "148.2 kB by which they are whitened" in text
    assert "| Step size | 0.0123, learned with the images |" in text and "whitened (ZCA, ε = 0.1)" in text
    plain = make_card(condensed(channels=3))
    assert not any(words in plain for words in ("whiten", "Step size", "step_size"))


def test_what_is_learned_on_a_whitened_task_is_exported_whitened():
    task = toy(3).whitened()
    for space in ("normalised", "unit"):
        syn = Pixels.start(task, 2, Run(Rng.of(0)), space=space)
        made = syn.export()
        torch.testing.assert_close(made.decoded(), syn()[0].detach())
        assert made.normalisation == task.normalisation
        real = Pixels.start(toy(3), 2, Run(Rng.of(0)), space=space).export()
        assert (made.pictures().int() - real.pictures().int()).abs().max() <= 1
    with pytest.raises(ValueError, match=r"^whitened images are stored whole: factor must be 1, not 2"):
        Pixels.start(task, 2, Run(Rng.of(0)), factor=2)
    with pytest.raises(ValueError, match=r"^whitened images are stored whole"):
        dataclasses.replace(made, factor=2)


def test_shards_of_one_step_size_alone_join():
    made = whitened()
    shards = [
        dataclasses.replace(made, images=made.images[own], labels=made.labels[own])
        for own in (made.labels == 0, made.labels == 1)
    ]
    assert CondensedSet.concat(shards).step_size == 0.0123
    with pytest.raises(ValueError, match=r"the sets differ in step_size: 0.0123 and 0.5"):
        CondensedSet.concat([shards[0], dataclasses.replace(shards[1], step_size=0.5)])
    other = dataclasses.replace(made.normalisation, matrix=2 * made.normalisation.matrix)
    with pytest.raises(ValueError, match=r"the sets differ in normalisation: ZCA with ε = 0.1 and the matrix"):
        CondensedSet.concat([shards[0], dataclasses.replace(shards[1], normalisation=other)])


def bad_parts(whitening: Whitening) -> dict[str, list[torch.Tensor]]:
    w, mean = whitening.matrix, whitening.mean
    spoilt = [values.clone() for values in (w, w, w, mean)]
    for values, value in zip(spoilt, (math.nan, math.inf, 1e9, math.nan), strict=True):
        values.view(-1)[0] = value
    skew = w.clone()
    skew[0, 1] += 1
    matrices = [
        w[1:],
        w[:, 1:],
        w[1:, 1:],
        w[None],
        w.half(),
        w.long(),
        -w,
        w * 0,
        w.triu(),
        skew,
        *spoilt[:3],
        1e-9 * w,
    ]
    return {"whitening": matrices, "mean_image": [mean[0], mean[None], mean[:, 1:], mean.long(), mean + 99, spoilt[3]]}


BAD_ENTRIES = {
    "eps": [None, True, "0.1", [], {}, 0, -1, math.nan, math.inf, 10**400],
    "step_size": [None, True, "0.1", [], {}, 0, -1, 0.0, 2000, math.nan, math.inf, 10**400],
}


def rewrite(folder, tensors, entries) -> None:
    """The set's file with this content, and right checksums."""
    write_tensors(folder / TENSORS, tensors, entries)
    about = {"format": 1, "sha256": hash_file(folder / TENSORS)}
    (folder / MANIFEST).write_text(json.dumps(about), encoding="utf-8")


def refused(folder) -> str:
    with pytest.raises(ValueError) as caught:
        load(folder)
    sentence = str(caught.value)
    assert type(caught.value) is ValueError and sentence.startswith(f"{folder} holds no sound set: ")
    assert "\n" not in sentence and len(sentence) < len(str(folder)) + 200
    return sentence


def test_no_hostile_whitening_is_loaded(tmp_path):
    made = whitened(side=4)
    tensors, entries = read_tensors(save(made, tmp_path / "run") / TENSORS)
    for name, values in bad_parts(made.normalisation).items():
        for value in values:
            rewrite(tmp_path / "run", tensors | {name: value}, entries)
            assert "whitening matrix" in refused(tmp_path / "run") or name == "mean_image"
            if name == "mean_image":
                assert "mean image" in refused(tmp_path / "run")
    for name, values in BAD_ENTRIES.items():
        for value in values if name == "eps" else values[1:]:
            rewrite(tmp_path / "run", tensors, entries | {name: value})
            assert name in refused(tmp_path / "run")


@pytest.mark.parametrize("missing", [{"whitening"}, {"mean_image"}, {"eps"}, {"eps", "mean_image"}])
def test_no_part_of_a_whitening_is_loaded(missing, tmp_path):
    tensors, entries = read_tensors(save(whitened(), tmp_path / "run") / TENSORS)
    parts = ({name: value for name, value in part.items() if name not in missing} for part in (tensors, entries))
    rewrite(tmp_path / "run", *parts)
    assert "a whitening has mean_image, whitening, eps" in refused(tmp_path / "run")


def test_no_wrong_step_size_is_taken():
    for value in BAD_ENTRIES["step_size"][1:]:
        with pytest.raises(
            ValueError, match=r"^the learned step_size is .*; expected a number above 0, of at most 1000"
        ):
            dataclasses.replace(condensed(), step_size=value)
