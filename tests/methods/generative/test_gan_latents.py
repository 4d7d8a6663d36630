"""Codes of a generator: the terms by slow formulas, gradients in chunks, a user's own generator."""

import math

import pytest
import torch
from conftest import narrow, toy, watch_updates
from generator_file import OWN
from safetensors.torch import save_file

import attar
from attar.engine.run import Run
from attar.methods.generative.gan_latents import GanLatents, confusion, crowding
from attar.rng import Rng
from attar.runs.recipe import resolve


def small(**settings):
    return resolve("gan-latents", "toy", 2, settings).method


def batches(k=3, n=4, m=6):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(k, size, 5, generator=generator, dtype=torch.float64) for size in (n, m))


def test_images_of_a_class_are_pushed_apart_as_the_formula_says():
    s, r = batches()
    for c in range(3):
        scale = torch.stack([(r[c, i] - r[c, j]).square().sum() for i in range(6) for j in range(6) if i != j]).mean()
        pairs = [math.exp(-(s[c, i] - s[c, j]).square().sum() / scale) for i in range(4) for j in range(4) if i != j]
        assert abs(crowding(s, r)[c].item() - sum(pairs) / 12) < 1e-12
    assert crowding(s[:, :1], r).tolist() == [0, 0, 0]
    torch.testing.assert_close(crowding(100 * s, r), torch.zeros(3, dtype=torch.float64))


def test_classes_are_pushed_apart_up_to_the_margin():
    s, r = batches()
    expected = 0.0
    for a in range(3):
        for b in range(a + 1, 3):
            apart, real = (float((x[a].mean(0) - x[b].mean(0)).norm()) for x in (s, r))
            expected += max(0.0, 2 - apart / real) ** 2
    assert expected > 0 and abs(confusion(s, r, 2.0).item() - expected) < 1e-9
    assert confusion(1000 * s, r, 2.0) == 0 and confusion(s[:1], r[:1], 2.0) == 0
    same = s.mean(1, keepdim=True).mean(0, keepdim=True).expand(3, 4, 5).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(confusion(same, r, 2.0), same)
    assert gradient.isfinite().all()  # where two means coincide, too


def test_chunked_gradients_are_whole_ones(exact):
    method = small(updates=3, lr=0.0)
    whole, parts = (watch_updates(method, narrow(exact), 3, Run(Rng.of(0), chunk=chunk)) for chunk in (1000, 3))
    for (loss, (gradient,)), (same, (other,)) in zip(whole, parts, strict=True):
        assert gradient.dtype == torch.float64 and gradient.abs().min() > 0
        torch.testing.assert_close(gradient, other, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(loss, same)


def test_without_the_other_terms_classes_do_not_know_each_other():
    task, method = narrow(toy()), small(intra=0.0, inter=0.0)
    whole, part = (method(task, 2, Run(Rng.of(0), classes=classes)) for classes in (None, (1,)))
    torch.testing.assert_close(whole.decoder.codes[2:4], part.decoder.codes, rtol=1e-4, atol=1e-5)
    pushed = small(inter=5.0, margin=5.0)(task, 2, Run(Rng.of(0)))
    assert not torch.allclose(pushed.decoder.codes[2:4], part.decoder.codes, rtol=1e-3, atol=1e-4)


def test_every_distance_may_be_matched():
    for name in ("mean", "sliced", "characteristic"):
        assert small(discrepancy=name, updates=2)(narrow(toy()), 2, Run(Rng.of(0))).images.isfinite().all()
    with pytest.raises(ValueError, match="covariances need at least two images"):
        small(discrepancy="moments")(narrow(toy()), 1, Run(Rng.of(0)))


def test_a_users_generator_takes_the_place_of_attars(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    name, weights = f"{tmp_path}/own.py:Made", tmp_path / "w.safetensors"
    plain = toy()
    save_file(attar.networks.generator.Generator.of_user(name, (1, 8, 8), 3).build().state_dict(), weights)
    task = plain.with_generator(name, weights)
    assert not GanLatents().stages(task, Run(Rng.of(0)))
    made = attar.condense(task, "gan-latents", 2, out=tmp_path / "run")
    loaded = attar.load(tmp_path / "run")
    assert loaded.provenance["generator"] == task.generator.identity
    assert loaded.decoder.name == task.generator.family.name and loaded.decoder.codes.shape == (6, 5)
    found = task.generator.family.images(task.generator.weights, loaded.decoder.codes, loaded.labels)
    assert torch.equal(found, made.images)
    save_file({name: p + 1 for name, p in task.generator.weights.params.items()}, weights)
    with pytest.raises(ValueError, match="holds a run with generator = Made-"):
        attar.condense(plain.with_generator(name, weights), "gan-latents", 2, out=tmp_path / "run", resume=True)
