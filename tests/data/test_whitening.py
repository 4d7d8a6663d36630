"""ZCA whitening: an independent formula, what undoes it, its cache, and a task whose networks see it."""

import dataclasses
import json
import math
import pickle

import numpy as np
import pytest
import torch
from conftest import toy
from safetensors.torch import save_file
from sklearn.decomposition import PCA

from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import Normalisation, unit
from attar.data.table import Column
from attar.data.task import Examples
from attar.data.whitening import LARGEST, Whitening, measure_whitening, whiten
from attar.files import cache_folder
from attar.rng import Rng

PLAIN = Normalisation((0.4,) * 3, (0.2,) * 3)


def draw(n: int, *shape: int) -> torch.Tensor:
    """Images on [0, 1] whose pixels correlate."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, *shape, generator=generator)
    return (x + x.flip(-1) + torch.rand(n, 1, 1, 1, generator=generator)) / 3


def whiten_slowly(x: np.ndarray, given: np.ndarray, eps: float) -> np.ndarray:
    """By scikit-learn's principal components: each is divided by √(its variance + ε), and all are turned back."""
    pca = PCA(svd_solver="full").fit(x)
    along = (given - pca.mean_) @ pca.components_.T
    rest = given - pca.mean_ - along @ pca.components_  # where the images do not vary
    return along / np.sqrt(pca.explained_variance_ + eps) @ pca.components_ + rest / np.sqrt(eps)


@pytest.mark.parametrize("n, eps", [(200, 0.1), (200, 1e-3), (7, 0.1)])
def test_it_is_what_principal_components_give(n, eps):
    x, other = draw(n, 3, 4, 5).double(), draw(9, 3, 4, 5).double() * 0.7
    made = measure_whitening(x, PLAIN, eps)
    expected = whiten_slowly(x.flatten(1).numpy(), other.flatten(1).numpy(), eps)
    torch.testing.assert_close(made.to_network(other).flatten(1).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_it_is_what_kornia_documents():
    """The example of `kornia.enhance.zca_whiten`, which divides by n − 1."""
    x = torch.tensor([[0.0, 1], [1, 0], [-1, 0]]).view(3, 1, 1, 2)
    seen = measure_whitening(x, Normalisation((0.0,), (1.0,)), 1e-6).to_network(x).view(3, 2)
    expected = torch.tensor([[0.0, 1.1547], [1, -0.5773], [-1, -0.5773]])
    torch.testing.assert_close(seen, expected, rtol=0, atol=2e-4)


def test_pixels_no_longer_correlate_as_far_as_epsilon_lets_them():
    x = torch.rand(500, 1, 4, 4, generator=torch.Generator().manual_seed(0)).cumsum(3) / 4
    seen = measure_whitening(x, PLAIN, 1e-6).to_network(x).flatten(1)
    torch.testing.assert_close(seen.T.cov(), torch.eye(16), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 4, 5), (6, 3, 4, 5), (2, 6, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_to_pixels_undoes_to_network(shape, dtype):
    made = measure_whitening(draw(60, 3, 4, 5), PLAIN)
    x = draw(12, 3, 4, 5).to(dtype)[: math.prod(shape[:-3])].view(shape)
    seen = made.to_network(x)
    assert seen.dtype == dtype and seen.shape == x.shape and not torch.allclose(seen, x)
    torch.testing.assert_close(made.to_pixels(seen), x)
    torch.testing.assert_close(made.to_network(made.to_pixels(x)), x)


def test_bytes_are_whitened_on_the_unit_interval():
    x = (draw(50, 1, 4, 4) * 255).to(torch.uint8)
    assert measure_whitening(x, PLAIN) == measure_whitening(unit(x), PLAIN)


def test_what_tells_it_apart_are_its_numbers():
    x = draw(60, 3, 4, 5)
    made, again, other = measure_whitening(x, PLAIN), measure_whitening(x, PLAIN), measure_whitening(x * 0.9, PLAIN)
    assert made == again == pickle.loads(pickle.dumps(made)) and hash(made) == hash(again)
    assert len({made, again, other, measure_whitening(x, PLAIN, 0.2)}) == 3
    assert made not in (PLAIN, dataclasses.replace(made, plain=Normalisation((0.4,) * 3, (0.3,) * 3)))
    assert json.loads(json.dumps(made.identity))[0] == "ZCA" and repr(made) != repr(other)


def test_it_is_measured_once_and_a_damaged_cache_is_measured_anew(caplog):
    x, key = draw(60, 3, 4, 5), "of-a-test"
    made = whiten(x, key, PLAIN)
    (path,) = (cache_folder() / "measured").glob(f"{key}-*.safetensors")
    kept = whiten(x * 0, key, PLAIN)  # not looked at
    assert kept == made and torch.equal(kept.matrix, made.matrix) and not caplog.text
    path.write_bytes(path.read_bytes()[:-5])
    assert whiten(x, key, PLAIN) == made and "the whitening is measured anew" in caplog.text
    assert whiten(x * 0, key, PLAIN) == made


def test_images_that_cannot_be_whitened_are_refused():
    with pytest.raises(
        ValueError, match=r"^whitening takes images of at most 4,096 numbers, and these have 12,288: a "
    ):
        whiten(torch.zeros(2, 3, 64, 64), "large", PLAIN)
    with pytest.raises(ValueError, match=r"^whitening needs at least two training images, and there is 1$"):
        whiten(draw(1, 3, 4, 5), "one", PLAIN)
    assert LARGEST >= 3 * 32 * 32
    with pytest.raises(ValueError, match=r"^the images are of the shape \(3, 5, 4\); the whitening is for \(3, 4, 5\)"):
        measure_whitening(draw(60, 3, 4, 5), PLAIN).to_network(draw(2, 3, 5, 4))


def test_a_whitened_task_differs_in_what_networks_see_alone():
    task = toy(3, seed=4)
    seen = task.whitened()
    assert isinstance(seen.normalisation, Whitening) and seen.normalisation.plain == task.normalisation
    assert seen.fingerprint == task.fingerprint and seen.whitened().normalisation == seen.normalisation
    rows = task.first(2)
    torch.testing.assert_close(seen.images(rows), seen.normalisation.to_network(unit(task.raw(rows))))
    pixels = [one.normalisation.to_pixels(one.images(rows)) for one in (task, seen)]
    torch.testing.assert_close(*pixels)
    assert torch.equal(CondensedSet.whole(seen).pictures(), CondensedSet.whole(task).pictures())


def test_rows_of_a_table_are_not_whitened():
    task = toy(2, 1, architecture="mlp")
    columns = tuple(Column(name, 0.0, 1.0, None) for name in "ab")
    with pytest.raises(ValueError, match=r"^whitening is for images, and these are rows of a table$"):
        dataclasses.replace(task, columns=columns).whitened()


def test_images_given_as_floats_are_whitened_alike():
    task = toy(1, 4)
    floats = dataclasses.replace(task, train=Examples(unit(task.train.x), task.train.y))
    assert floats.whitened().normalisation == task.whitened().normalisation


def test_networks_in_low_precision_see_the_exact_images():
    made, x = measure_whitening(draw(60, 3, 4, 5), PLAIN), draw(5, 3, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        seen = made.to_network(x)
        assert torch.equal(made.to_pixels(seen), made.to_pixels(made.to_network(x)))
    assert torch.equal(seen, made.to_network(x))


@pytest.mark.parametrize("first", [True, False])
def test_an_encoder_sees_what_it_would_see_without_whitening(first, tmp_path):
    task, path = toy(3), tmp_path / "w.safetensors"
    w = task.network.init(Rng.of(1))
    save_file({name: tensor for part in w for name, tensor in part.items()}, path)
    plain = task.with_encoder("convnet", path)
    seen = task.whitened().with_encoder("convnet", path) if first else plain.whitened()
    rows = task.first(2).flatten()
    found = [one.encoder.features(one.encoder.weights, one.images(rows)) for one in (plain, seen)]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_compiled_and_eager_agree(unchecked):
    x = draw(60, 3, 4, 5)
    for made in (measure_whitening(x, PLAIN), measure_whitening(x * 0.9, PLAIN)):
        compiled = torch.compile(made.to_network, dynamic=False, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), made.to_network(x))
