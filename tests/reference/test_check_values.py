"""Losses at the start, on real images, against the specification's measured values."""

from pathlib import Path

import pytest
import torch

from attar.data.load import load_data
from attar.distances.mmd import gaussians, mean_distance, radial_mmd
from attar.engine.slices import map_slices
from attar.rng import Rng

pytestmark = pytest.mark.slow
CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10"


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Features of 256 and of other 10 images a class, under one unlearned network."""
    if not CIFAR.exists():
        pytest.skip("needs CIFAR-10 beside the repository")
    import pyarrow.parquet as pq

    root = tmp_path_factory.mktemp("cifar")
    for part, groups in (("train", range(5)), ("test", range(1))):
        (source,) = CIFAR.glob(f"{part}-*.parquet")
        pq.write_table(pq.ParquetFile(source).read_row_groups(list(groups)), root / f"{part}-00000-of-00001.parquet")
    task = load_data("cifar10", root=root)
    x = task.sample(range(10), 266, Rng.of(0))
    w = task.network.init(Rng.of(1))
    with torch.no_grad():
        f = map_slices(lambda part: task.network.features(w, part), x.flatten(0, 1), 200)
    f = f.unflatten(0, (10, 266))
    return f[:, :256], f[:, 256:]


@pytest.mark.parametrize("ipc, expected", [(1, 2628), (10, 270)])
def test_dm(features, ipc, expected):
    real, other = features
    losses = [mean_distance(other[:, i : i + ipc], real).sum().item() for i in range(0, 10, ipc)]
    assert sum(losses) / len(losses) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("ipc, expected", [(1, 30.80), (10, 3.260)])
def test_m3d(features, ipc, expected):
    real, other = features
    losses = [radial_mmd(gaussians, other[:, i : i + ipc], real[:, :128]).sum().item() for i in range(0, 10, ipc)]
    assert sum(losses) / len(losses) == pytest.approx(expected, rel=0.1)


def test_scale_of_the_features(features):
    real, _ = features
    cat = real[3]
    assert cat.mean().item() == pytest.approx(0.397, rel=0.1) and cat.std().item() == pytest.approx(0.39, rel=0.1)
    trace = cat.var(0).sum().item()
    assert trace == pytest.approx(280, rel=0.1)
    assert cat.square().sum(1).mean().item() == pytest.approx(635, rel=0.1)


def test_linear_m3d_and_dm_give_the_same_pixel_gradient(features):
    real, other = features
    s = other.clone().requires_grad_()
    (dm,) = torch.autograd.grad(mean_distance(s, real).sum(), s)

    def gram(a, b):
        return (a @ b.mT).mean((1, 2))

    (linear,) = torch.autograd.grad((gram(s, s) - 2 * gram(s, real)).sum(), s)
    torch.testing.assert_close(dm, linear, rtol=1e-3, atol=1e-5)
