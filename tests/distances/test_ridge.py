"""Ridge regression against scikit-learn's, and its gradients against finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.kernel_ridge import KernelRidge

from attar.distances.ridge import centred, predict, regress


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 3.0])
@pytest.mark.parametrize("dtype, near", [(torch.float64, 1e-8), (torch.float32, 1e-3)])
def test_it_is_scikit_learns_kernel_ridge(ridge, dtype, near):
    phi_t, phi_s, y = features(30, 9), features(6, 9, seed=1), features(6, 3, seed=2)
    gram = (phi_s @ phi_s.T).numpy()
    model = KernelRidge(alpha=ridge * np.trace(gram) / 6, kernel="precomputed").fit(gram, y.numpy())
    expected = torch.from_numpy(model.predict((phi_t @ phi_s.T).numpy()))
    found = regress(phi_t.to(dtype), phi_s.to(dtype), y.to(dtype), ridge)
    torch.testing.assert_close(found, expected, rtol=near, atol=near)
    torch.testing.assert_close(predict(phi_t @ phi_s.T, phi_s @ phi_s.T, y, ridge), expected, rtol=1e-8, atol=1e-8)


def test_derivatives_in_features_and_labels():
    parts = [part.requires_grad_() for part in (features(4, 5), features(3, 5, seed=1), features(3, 2, seed=2))]
    assert torch.autograd.gradcheck(regress, parts)


def test_without_a_ridge_the_examples_own_labels_are_met():
    phi, y = features(5, 9), centred(torch.tensor([0, 1, 2, 1, 0]), 3)
    torch.testing.assert_close(regress(phi, phi, y, 1e-12), y.double(), rtol=1e-6, atol=1e-6)


def test_what_is_not_positive_definite_is_nan():
    assert predict(torch.ones(2, 3), -torch.eye(3), torch.ones(3, 2)).isnan().all()


def test_centred_labels():
    y = torch.tensor([2, 0])
    assert torch.equal(centred(y, 4), F.one_hot(y, 4) - 0.25)
