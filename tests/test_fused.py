"""The first block as one kernel: here interpreted, in float32; on a GPU the tests marked `gpu` compare it in bfloat16."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

COMPARE = """
import torch, torch.nn.functional as F
from attar.architectures import fused
for inputs, height, width, border in ((3, 8, 8, 0), (1, 28, 28, 2), (3, 6, 10, 0)):
    convolution, norm = torch.nn.Conv2d(inputs, 16, 3, padding=1 + border), torch.nn.GroupNorm(16, 16)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    x = torch.randn(2, inputs, height, width, requires_grad=True)
    learned = [x, convolution.weight, norm.weight, norm.bias]
    expected = F.avg_pool2d(norm(convolution(x)).relu(), 2)
    images = F.pad(x, [1 + border] * 4).permute(0, 2, 3, 1).contiguous()
    weights = convolution.weight.permute(2, 3, 1, 0).contiguous(), norm.weight, norm.bias
    out = fused.pooled(images, *weights, norm.eps).permute(0, 3, 1, 2)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    up = torch.randn_like(expected)
    for pair in zip(*(torch.autograd.grad(found, learned, up) for found in (out, expected))):
        torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-4)
"""


def test_the_kernels_are_convolution_normalisation_relu_and_pooling_and_their_slope():
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # read when triton is imported
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
