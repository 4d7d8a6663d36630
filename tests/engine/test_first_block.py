"""The first block as one kernel.

That of a GPU is interpreted here, in float32. The tests marked `gpu` compare it in bfloat16.
"""

import copy
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attar.engine.fast_layers import HAS_TRITON, quicken
from attar.engine.kernels import first_block_cpu
from attar.engine.run import Run
from attar.networks.architectures import ConvNet
from attar.networks.by_name import make_network
from attar.rng import Rng

COMPARE = """
import torch, torch.nn.functional as F
from attar.engine.kernels import first_block_gpu as fused
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
def test_a_gpus_kernels_are_convolution_normalisation_relu_and_pooling_and_their_gradient():
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # read when triton is imported
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("learns", [(True, True, True, True), (True, False, False, False), (False, True, True, True)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_cpus_kernels_are_convolution_normalisation_relu_and_pooling_and_their_gradient(
    vectors, sizes, learns, threads, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    given = [part.requires_grad_(asked) for part, asked in zip(leaves(sizes), learns, strict=True)]
    exact = [part.detach().double().requires_grad_(part.requires_grad) for part in given]
    found, expected = first_block_cpu.first_block(*given, EPS, sizes[-1]), literal(*exact, sizes[-1])
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    up = torch.randn_like(found, memory_format=torch.contiguous_format)
    wanted = torch.autograd.grad(expected, [part for part in exact if part.requires_grad], up.double())
    gradients = torch.autograd.grad(found, [part for part in given if part.requires_grad], up)
    for gradient, expected in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-4)


needs_kernels = pytest.mark.skipif(
    not first_block_cpu.maps_at_a_time(), reason="needs Linux, g++, and a processor with AVX2"
)


@pytest.fixture(
    params=[pytest.param(False, marks=needs_kernels), pytest.param(True, marks=needs_kernels)], ids=["own", "long"]
)
def vectors(request, monkeypatch):
    """Those of the machine, and those of sixteen numbers: where it has shorter ones the compiler makes two of each."""
    if request.param:
        own = first_block_cpu.VECTORS[torch.backends.cpu.get_cpu_capability()]
        long = first_block_cpu.compile_once(["g++", *first_block_cpu.OPTIONS, *own, "-DLONG", "-Wno-psabi"])
        monkeypatch.setattr(first_block_cpu, "load_library", lambda: long)


@pytest.fixture(params=[(3, 8, 8, 32, 0), (1, 28, 28, 64, 2), (3, 6, 10, 32, 0), (1, 4, 2, 128, 0)], ids=str)
def sizes(request):
    return request.param


EPS = 1e-5


def leaves(sizes: tuple[int, ...]) -> list[Tensor]:
    """Images, weights, gain and shift."""
    inputs, height, width, maps, _ = sizes
    torch.manual_seed(0)
    x = torch.randn(3, height, width, inputs).permute(0, 3, 1, 2)
    return [x, torch.randn(maps, inputs, 3, 3) / 3, torch.rand(maps) + 0.5, torch.rand(maps) - 0.5]


def literal(x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, border: int) -> Tensor:
    maps = F.group_norm(F.conv2d(x, weight, padding=1 + border), len(weight), gain, shift, EPS)
    return F.avg_pool2d(maps.relu(), 2)


def test_it_gives_bfloat16_to_what_follows_and_takes_gradients_in_it(vectors, sizes):
    given = [part.requires_grad_() for part in leaves(sizes)]
    exact = first_block_cpu.first_block(*given, EPS, sizes[-1])
    with torch.autocast("cpu", torch.bfloat16):
        lowered = first_block_cpu.first_block(*given, EPS, sizes[-1])
    assert torch.equal(lowered, exact.bfloat16())
    up = torch.randn_like(exact).bfloat16()
    low, high = torch.autograd.grad(lowered, given, up), torch.autograd.grad(exact, given, up.float())
    assert all(torch.equal(a, b) for a, b in zip(low, high, strict=True))


@pytest.mark.parametrize("bits", [0x7FC00000, -1])
def test_a_nan_stays_in_its_image_and_is_seen(bits, vectors):
    x, *others = leaves((3, 8, 8, 32, 0))
    x = x.contiguous()
    x[1, 0, 3, 3] = torch.tensor(bits, dtype=torch.int32).view(torch.float32)
    for lowered in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            out = first_block_cpu.first_block(x, *others, EPS, 0)
        assert out[1].isnan().all()
        assert out[[0, 2]].isfinite().all()


@pytest.mark.parametrize(
    "inputs, maps, side, dtype", [(3, 32, 7, None), (2, 32, 8, None), (3, 24, 8, None), (3, 32, 8, torch.float64)]
)
def test_what_it_cannot_work_on_is_refused(inputs, maps, side, dtype, vectors):
    x, weight, *others = leaves((inputs, side, side, maps, 0))
    with pytest.raises(ValueError, match="does not make"):
        first_block_cpu.first_block(x.to(dtype), weight.to(dtype), *others, EPS, 0)
    with pytest.raises(ValueError, match="does not make"):
        first_block_cpu.first_block(torch.randn(2, 3, 8, 8), torch.randn(32, 1, 3, 3), *others, EPS, 0)


@needs_kernels
@pytest.mark.parametrize(
    "fields, dtype, calls",
    [
        ({}, torch.float32, 1),
        ({"norm": "batch"}, torch.float32, 0),
        ({"width": 24}, torch.float32, 0),
        ({}, torch.float64, 0),
    ],
)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (3, 9, 8)])
def test_compiled_networks_have_it_where_it_fits(shape, fields, dtype, calls, unchecked, monkeypatch):
    made, call = [], first_block_cpu.call

    def watched(name, *given, **others):
        made.append(name)
        call(name, *given, **others)

    monkeypatch.setattr(first_block_cpu, "call", watched)
    torch.compiler.reset()
    module, x = ConvNet(shape, 10, **fields).eval().to(dtype), torch.randn(2, *shape, dtype=dtype, requires_grad=True)
    for kernel in (True, False):
        made.clear()
        compiled = torch.compile(quicken(copy.deepcopy(module), kernel), fullgraph=True, backend="aot_eager")
        gradients = [torch.autograd.grad(net(x).square().sum(), x)[0] for net in (compiled, module)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
        fits = kernel and shape[1] % 2 == 0
        assert made == (["first_block", "first_block_gradients"] * calls if fits else [])


@needs_kernels
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_networks_gradients_are_as_near_as_its_precision(precision, unchecked):
    family, bound = make_network("convnet", (3, 8, 8), 10), {"fp32": 1e-5, "bf16": 0.1}[precision]
    w, x = family.init(Rng.of(0)), torch.randn(5, 3, 8, 8, generator=Rng.of(1).generator()).requires_grad_()
    learned = [x, *(w.params[f"body.0.{name}"].requires_grad_() for name in ("0.weight", "1.weight", "1.bias"))]
    up = torch.randn(5, family.width((3, 8, 8)), generator=Rng.of(2).generator())
    engine = Run(Rng.of(0), precision=precision, compile="on").engine(family.features, 0)
    found, exact = (
        [out.detach(), *torch.autograd.grad(out, learned, up)] for out in (engine(w, x), family.features(w, x))
    )
    assert all((a - b).norm() < bound * b.norm() for a, b in zip(found, exact, strict=True))


@pytest.mark.parametrize("script", ["exit 1", "echo no such flag >&2; exit 1", "echo 1"])
def test_without_a_compiler_that_works_networks_do_without_it(script, tmp_path, monkeypatch, caplog):
    compiler = tmp_path / "g++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path))
    assert first_block_cpu.load_library.__wrapped__() is None
    assert not list(tmp_path.glob("kernels/*.so"))
    if torch.backends.cpu.get_cpu_capability() in first_block_cpu.VECTORS:
        assert "so that they are slower" in caplog.text
