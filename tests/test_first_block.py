"""The first block as one kernel. That of a GPU is interpreted here, in float32; there the tests marked `gpu` compare it in bfloat16."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attar.architectures import ConvNet, first_block_cpu
from attar.architectures.convnet import HAS_TRITON

COMPARE = """
import torch, torch.nn.functional as F
from attar.architectures import first_block_gpu as fused
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


@pytest.mark.skipif(not HAS_TRITON, reason="needs triton")
def test_a_gpus_kernels_are_convolution_normalisation_relu_and_pooling_and_their_slope():
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # read when triton is imported
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_cpus_kernels_are_convolution_normalisation_relu_and_pooling_and_their_slope(wide, sizes):
    given = leaves(sizes)
    exact = [part.detach().double().requires_grad_() for part in given]
    found, expected = first_block_cpu.first_block(*given, EPS, sizes[-1]), literal(*exact, sizes[-1])
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    up = torch.randn_like(found)
    wanted = torch.autograd.grad(expected, exact, up.double())
    for pair in zip(torch.autograd.grad(found, given, up), wanted, strict=True):
        torch.testing.assert_close(pair[0].double(), pair[1], rtol=1e-4, atol=1e-4)


@pytest.fixture(params=[False, True], ids=["as the machine has them", "wide"])
def wide(request, monkeypatch):
    """Vectors of sixteen numbers as well: where the machine has shorter ones the compiler makes two of each."""
    vectors = torch.backends.cpu.get_cpu_capability()
    if not first_block_cpu.width():
        pytest.skip("needs g++, and a processor with AVX2")
    if request.param:
        monkeypatch.setitem(first_block_cpu.FLAGS, vectors, [*first_block_cpu.FLAGS[vectors], "-DWIDE", "-Wno-psabi"])
        monkeypatch.setattr(first_block_cpu, "library", first_block_cpu.library.__wrapped__)


@pytest.fixture(params=[(3, 8, 8, 32, 0), (1, 28, 28, 64, 2), (3, 6, 10, 32, 0), (1, 4, 2, 128, 0)], ids=str)
def sizes(request):
    return request.param


EPS = 1e-5


def leaves(sizes: tuple[int, ...]) -> list[Tensor]:
    """Images, weights, gain and shift."""
    inputs, height, width, maps, _ = sizes
    torch.manual_seed(0)
    found = [torch.randn(3, inputs, height, width), torch.randn(maps, inputs, 3, 3) / 3, torch.rand(maps) + 0.5, torch.rand(maps) - 0.5]
    return [part.requires_grad_() for part in found]


def literal(x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, border: int) -> Tensor:
    maps = F.group_norm(F.conv2d(x, weight, padding=1 + border), len(weight), gain, shift, EPS)
    return F.avg_pool2d(maps.relu(), 2)


def test_it_lends_bfloat16_to_what_follows_and_takes_slopes_in_it(wide, sizes):
    given = leaves(sizes)
    exact = first_block_cpu.first_block(*given, EPS, sizes[-1])
    with torch.autocast("cpu", torch.bfloat16):
        lowered = first_block_cpu.first_block(*given, EPS, sizes[-1])
    assert torch.equal(lowered, exact.bfloat16())
    up = torch.randn_like(exact).bfloat16()
    for pair in zip(torch.autograd.grad(lowered, given, up), torch.autograd.grad(exact, given, up.float()), strict=True):
        assert torch.equal(*pair)


def test_a_nan_stays_in_its_image_and_is_seen():
    if not first_block_cpu.width():
        pytest.skip("needs g++, and a processor with AVX2")
    x, *others = leaves((3, 8, 8, 32, 0))
    with torch.no_grad():
        x[1, 0, 3, 3] = torch.nan
        out = first_block_cpu.first_block(x, *others, EPS, 0)
    assert out[1].isnan().all()
    assert out[[0, 2]].isfinite().all()


@pytest.mark.parametrize(
    "fields, dtype, calls",
    [({}, torch.float32, 1), ({"norm": "batch"}, torch.float32, 0), ({"width": 24}, torch.float32, 0), ({}, torch.float64, 0)],
)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28)])
def test_compiled_networks_have_it_where_it_fits(shape, fields, dtype, calls, unchecked, monkeypatch):
    if not first_block_cpu.width():
        pytest.skip("needs g++, and a processor with AVX2")
    made, call = [], first_block_cpu.call
    monkeypatch.setattr(first_block_cpu, "call", lambda name, *given, **others: (made.append(name), call(name, *given, **others)))
    torch.compiler.reset()
    module, x = ConvNet(shape, 10, **fields).eval().to(dtype), torch.randn(2, *shape, dtype=dtype, requires_grad=True)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    slopes = [torch.autograd.grad(net(x).square().sum(), x)[0] for net in (compiled, module)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)
    assert made == ["first_block", "first_block_slopes"] * calls


@pytest.mark.parametrize("compiler", ["exit 1", "echo no such flag >&2; exit 1", "echo 1"])
def test_without_a_compiler_that_works_networks_do_without_it(compiler, tmp_path, monkeypatch, caplog):
    script = tmp_path / "g++"
    script.write_text(f"#!/bin/sh\n{compiler}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path))
    assert first_block_cpu.library.__wrapped__() is None
    if torch.backends.cpu.get_cpu_capability() in first_block_cpu.FLAGS:
        assert "so that they are slower" in caplog.text
