"""Codes of a generator: what they give, whom they move, and that they are stored with what decodes them."""

import dataclasses

import pytest
import torch
from conftest import toy

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.decoder import Decoder
from attar.condensed.store import load, save
from attar.engine.run import Run
from attar.networks.generator import Generator
from attar.rng import Rng
from attar.synthesis.latents import Latents

RUN = Run(Rng.of(0))


def start(task=None, ipc=2, run=RUN, **options):
    task = task or toy()
    family = Generator.own(task.shape, len(task.classes))
    return Latents(task, ipc, run, family, family.init(Rng.of(1)), looks=1)


def test_images_are_the_generators_as_networks_see_them():
    syn, task = start(), toy()
    x, y = syn()
    z = syn.codes.flatten(0, 1)
    torch.testing.assert_close(task.normalisation.to_pixels(x), syn.family.images(syn.w(), z, y), rtol=1e-5, atol=1e-6)
    assert y.tolist() == [0, 0, 1, 1, 2, 2] and syn.each == 2


def test_codes_of_one_class_move_no_other():
    syn = start()
    before = syn.of((0, 1, 2)).detach()
    syn.of((1,)).sum().backward()
    assert syn.codes.grad[1].abs().min() > 0 and syn.codes.grad[[0, 2]].abs().sum() == 0
    with torch.no_grad():
        syn.codes[1] += 1
    after = syn.of((0, 1, 2)).detach()
    assert torch.equal(before[[0, 2]], after[[0, 2]]) and not torch.equal(before[1], after[1])
    torch.testing.assert_close(syn.of((2, 0))[1], syn.of((0,))[0])


def test_only_codes_are_learned_and_a_shard_draws_what_all_would():
    assert [name for name, _ in start().named_parameters()] == ["codes"]
    assert torch.equal(start().codes[[2, 0]], start(run=Run(Rng.of(0), classes=(2, 0))).codes)


def test_a_stored_set_holds_generator_codes_and_the_images_they_give(tmp_path):
    syn = start(toy(3, 9))
    made = syn.export()
    save(made, tmp_path / "set")
    again = load(tmp_path / "set")
    family, w = again.decoder.generator(again.images.shape[1:], 3)
    assert torch.equal(family.images(w, again.decoder.codes, again.labels), made.images)
    assert torch.equal(again.images, made.images) and again.decoder.name == "ConvGenerator"
    torch.testing.assert_close(again.as_dataset().tensors[0], syn()[0].detach(), rtol=1e-4, atol=1e-5)
    held = sum(p.numel() for p in syn.w().params.values()) * 4
    assert again.bytes["stored"] == held + made.decoder.codes.numel() * 4 + 6 * 8
    assert not again.generative and (tmp_path / "set" / "contact.png").is_file()
    assert "A generator made them, from the codes" in (tmp_path / "set" / "README.md").read_text()


def test_shards_are_joined_with_their_codes():
    whole = start().export()
    parts = [start(run=Run(Rng.of(0), classes=classes)).export() for classes in ((2, 0), (1,))]
    joined = CondensedSet.concat(parts)
    assert torch.equal(joined.decoder.codes, whole.decoder.codes)
    torch.testing.assert_close(joined.images, whole.images)
    other = dataclasses.replace(parts[1], decoder=None)
    with pytest.raises(ValueError, match="the sets differ in their decoders"):
        CondensedSet.concat([parts[0], other])
    assert whole.first(1, 2).decoder is None


def without(name):
    return lambda decoder: dataclasses.replace(
        decoder, weights={key: p for key, p in decoder.weights.items() if key != name}
    )


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda d: Decoder(d.name, {}), "expected a generator's name and weights"),
        (
            lambda d: dataclasses.replace(d, codes=d.codes[:5]),
            r"codes have the shape \(5, 64\); expected \(6, length\)",
        ),
        (lambda d: dataclasses.replace(d, codes=d.codes[:, :9]), "codes have 9 numbers each; the decoder takes 64"),
        (lambda d: dataclasses.replace(d, codes=d.codes * torch.nan), "codes hold values that are NaN"),
        (
            lambda d: Decoder(d.name, d.weights | {"start.bias": torch.full_like(d.weights["start.bias"], torch.inf)}),
            "values of the decoder's 'start.bias' hold values that are NaN or infinite",
        ),
        (without("start.bias"), r"no generator of 1×8×8 images of 3 classes: its 'start.bias' has the shape None"),
        (
            lambda d: Decoder(d.name, d.weights | {"start.weight": torch.zeros(384, 74)}),
            r"of 3 classes: its 'start.weight' has the shape \(384, 74\), and not \(384, 67\)",
        ),
    ],
)
def test_a_decoder_of_another_shape_or_class_count_is_refused(change, told):
    made = start().export()
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(made, decoder=change(made.decoder))


def test_of_a_users_generator_the_weights_alone_are_kept():
    made = start().export()
    own = dataclasses.replace(made, decoder=Decoder("Made-12345678", {"any": torch.ones(3)}, torch.zeros(6, 2)))
    with pytest.raises(ValueError, match="Made-12345678 is of a user's own file, whose code no set holds"):
        own.decoder.generator((1, 8, 8), 3)
