"""The protocol dim: each epoch has fresh images of a generator, and its rows stand apart from those of images."""

import dataclasses
import re

import pytest
import torch
from conftest import narrow, toy

import attar
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.decoder import Decoder
from attar.engine.run import Run
from attar.evaluation.fresh import Fresh
from attar.evaluation.rows import Row, read_rows, summarise, write_rows
from attar.networks.generator import Generator
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.synthesis.generated import Generated
from attar.training.fit import fit_together
from attar.training.protocol import NONE, PROTOCOLS, Protocol

SHORT = dataclasses.replace(PROTOCOLS["dim"], epochs=3, batch=8)


def start(task, each=2, seed=1):
    family = Generator.own(task.shape, len(task.classes))
    return Generated(task, each, Run(Rng.of(0)), family, family.init(Rng.of(seed)), looks=1)


def made(task=None, each=2, seed=1):
    found = start(task or toy(), each, seed).export()
    return dataclasses.replace(found, provenance={"method": "dim"})


def test_a_generator_travels_with_samples_and_without_codes(tmp_path):
    task = toy(3, 8)
    syn = start(task)
    attar.save(syn.export(), tmp_path / "set")
    again = attar.load(tmp_path / "set")
    assert again.generative and again.decoder.codes is None and again.images.shape == (6, 3, 8, 8)
    torch.testing.assert_close(again.as_dataset().tensors[0], syn()[0].detach(), rtol=1e-4, atol=1e-5)
    family, w = again.decoder.generator((3, 8, 8), 3)
    assert torch.equal(family.images(w, syn.codes.flatten(0, 1), again.labels), again.images)
    assert again.bytes["stored"] == 4 * syn.weights.numel()
    assert "A generator made them, from random codes" in (tmp_path / "set" / "README.md").read_text()
    more = start(task, each=20).export()
    assert more.bytes["stored"] == again.bytes["stored"]  # of the generator, however many samples there are


def test_the_code_on_its_card_runs(tmp_path, monkeypatch):
    attar.save(made(), tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.count("A generator, and 6 stored images (2 a class, 3 classes) of it") == 1
    monkeypatch.chdir(tmp_path)
    told = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1].replace("range(1000)", "range(2)")
    found: dict = {}
    exec(told, found)  # as a reader would
    assert found["x"].shape == (128, 1, 8, 8)


def test_only_the_generator_is_learned():
    syn = start(toy())
    assert [name for name, _ in syn.named_parameters()] == ["weights"] and not list(syn.buffers())
    syn.sample(torch.ones(2, 64), torch.tensor([0, 1])).sum().backward()
    assert syn.weights.grad.abs().sum() > 0


def test_weights_of_a_file_have_the_order_of_the_module():
    """A file has an order of its own, and a run that trained the generator may resume with what it kept."""
    task, family = toy(), Generator.own((1, 8, 8), 3)
    w = family.init(Rng.of(1))
    turned = Weights(dict(reversed(w.params.items())), {})
    one, other = (Generated(task, 2, Run(Rng.of(0)), family, each, looks=1) for each in (w, turned))
    assert torch.equal(one.weights, other.weights) and torch.equal(one()[0], other()[0])


def test_images_are_drawn_by_seed_and_of_every_class(tmp_path):
    found = made()
    draw = Fresh.of(found, tmp_path / "w.safetensors").load(8, torch.device("cpu"))
    (x, y), (same, _), (other, _) = draw(Rng.of(0)), draw(Rng.of(0)), draw(Rng.of(1))
    assert torch.equal(x, same) and not torch.equal(x, other) and y.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    family, w = found.decoder.generator((1, 8, 8), 3)
    z = torch.randn(8, 64, generator=Rng.of(0).generator())
    assert torch.equal(x, found.normalisation.to_network(family.images(w, z, y)))


def test_each_epoch_and_each_network_has_images_of_its_own():
    task, drawn = narrow(toy()), []
    plain = Protocol("plain", "for tests", 3, 4, "half", NONE)

    def renew(rng):
        drawn.append(rng.path)
        x = torch.randn(6, 1, 8, 8, generator=rng.generator())
        return x, torch.arange(6) % 3

    rngs = [Rng.of(seed) for seed in (0, 1)]
    x, y = renew(Rng.of(9))
    both = fit_together(task.network, x, y, plain, rngs, Run(Rng.of(0)), renew=renew)
    assert drawn[1:] == [(seed, "fresh", epoch) for epoch in range(3) for seed in (0, 1)]
    alone = fit_together(task.network, x, y, plain, rngs[1:], Run(Rng.of(0)), renew=renew)
    for name, p in alone[0].params.items():
        torch.testing.assert_close(p, both[1].params[name])


def test_an_epoch_is_as_long_as_the_authors_have_it():
    protocol = PROTOCOLS["dim"]
    assert [protocol.seen(10 * ipc) // 128 for ipc in (1, 10, 50)] == [1, 1, 4]  # 10 · ipc // 128 + 1
    assert protocol.epochs == 1000 and PROTOCOLS["dm"].seen(10) == 10


def test_rows_say_generator_and_keep_to_themselves(tmp_path):
    task, found = narrow(toy()), made()
    rows = attar.evaluate(found, task, protocol=SHORT, seeds=2, out=tmp_path / "rows")
    assert all(row.generator and row.bytes == found.bytes["stored"] for row in rows)
    again = attar.evaluate(found, task, protocol=SHORT, seeds=2, out=tmp_path / "rows")
    assert [row.accuracy for row in again] == [row.accuracy for row in rows]
    (cell,) = summarise(rows)
    assert cell.cells()[1] == "generator (2)"
    images = [dataclasses.replace(row, method="random", generator=False, variant="") for row in rows]
    cells = summarise([*rows, *images])
    assert len(cells) == 2 and cells[0].gain is None and cells[0].random is None
    write_rows(tmp_path / "kept.json", rows)
    assert read_rows(tmp_path / "kept.json") == rows
    assert "generator" in {field.name for field in dataclasses.fields(Row)}


def test_another_generator_with_the_same_samples_is_another_network(tmp_path):
    task, first = narrow(toy()), made()
    weights = {name: p + 0.1 for name, p in first.decoder.weights.items()}
    other = dataclasses.replace(first, decoder=Decoder(first.decoder.name, weights))
    keys = [attar.evaluate(each, task, protocol=SHORT, seeds=1)[0].key for each in (first, first, other)]
    assert keys[0] == keys[1] != keys[2]


def test_what_cannot_be_drawn_from_is_refused():
    task = toy()
    with pytest.raises(ValueError, match=r"the set of whole set, 24 per class, is no generator, of which .* dim draws"):
        attar.evaluate(CondensedSet.whole(task), task, protocol="dim")
    with pytest.raises(ValueError, match="the protocol dim draws fresh images, and there are none at 8 bit"):
        attar.evaluate(made(), task, protocol="dim", eight_bit=True)


def test_its_samples_are_judged_as_images_by_other_protocols():
    (row,) = attar.evaluate(made(), narrow(toy()), protocol=dataclasses.replace(PROTOCOLS["quick"], steps=2), seeds=1)
    assert row.generator and row.images == 6
