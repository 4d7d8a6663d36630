"""The first block as one kernel: here interpreted, in float32; on a GPU the tests marked `gpu` compare it in bfloat16."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

COMPARE = """
import torch, torch.nn.functional as F, triton.language as tl
from attar.architectures.fused import blocks, kernel
for inputs, height, width, border in ((3, 8, 8, 0), (1, 28, 28, 2), (3, 9, 10, 0)):
    convolution, norm = torch.nn.Conv2d(inputs, 16, 3, padding=1 + border), torch.nn.GroupNorm(16, 16)
    for parameter in norm.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.randn(2, inputs, height, width)
    with torch.no_grad():
        expected = F.avg_pool2d(norm(convolution(x)).relu(), 2)
        out = torch.empty_like(expected).to(memory_format=torch.channels_last)
        weights = convolution.weight, norm.weight, norm.bias, out, norm.eps
        kernel[(2,)](x, *weights, inputs, border, height, width, 16, **blocks(inputs, tl.float32))
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
"""


def test_the_kernel_is_convolution_normalisation_relu_and_pooling():
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # read when triton is imported
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
