"""A ConvNet's first block as one CPU kernel there and one back (`first_block.cpp`), which g++ compiles once for a machine."""

import ctypes
import functools
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.files import beside
from attar.mapped import cache_folder
from attar.run import say_once

SOURCE = Path(__file__).with_name("first_block.cpp")
WIDTHS = {"AVX2": 16, "AVX512": 32}  # maps at a time, with the vectors torch finds
FLAGS = {"AVX2": ["-mavx2", "-mfma"], "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-DWIDE"]}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels; `None` without vectors of eight numbers at least, without g++, or where it fails, which is said once."""
    compiler, vectors = shutil.which("g++"), torch.backends.cpu.get_cpu_capability()
    if compiler is None or vectors not in FLAGS:
        return None
    try:
        return ctypes.CDLL(str(compiled(compiler, FLAGS[vectors])))
    except (OSError, subprocess.CalledProcessError) as error:
        told = [*(getattr(error, "stderr", None) or "").splitlines(), str(error)][0]
        say_once(f"the first block of networks could not be compiled, so that they are slower: {told}")
        return None


def compiled(compiler: str, flags: list[str]) -> Path:
    """Where the library lies, made where it is not there yet."""
    version = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    key = hashlib.blake2b(SOURCE.read_bytes() + " ".join([version, *flags]).encode(), digest_size=16).hexdigest()
    path = cache_folder() / "kernels" / f"{key}.so"
    if not path.exists():
        with beside(path) as temporary:
            command = [compiler, "-O3", "-std=c++17", "-fopenmp", "-shared", "-fPIC", *flags, str(SOURCE), "-o", str(temporary)]
            subprocess.run(command, capture_output=True, text=True, check=True)
    return path


@torch.compiler.assume_constant_result
def width() -> int:
    """How many maps the kernels make at a time, 0 where there are none."""
    return WIDTHS[torch.backends.cpu.get_cpu_capability()] if library() else 0


def call(name: str, *given: Tensor | float | None, sizes: list[int], low: bool) -> None:
    """The library's function, which takes where tensors lie, in the order of its declaration."""
    places = [
        ctypes.c_float(x) if isinstance(x, float) else ctypes.c_void_p(x.data_ptr() if isinstance(x, Tensor) else None) for x in given
    ]
    getattr(library(), name)(*places, (ctypes.c_int64 * len(sizes))(*sizes), ctypes.c_bool(low))


def sizes(x: Tensor, weight: Tensor, border: int) -> list[int]:
    return [*x.shape, border, len(weight)]


@torch.library.custom_op("attar::first_block_cpu", mutates_args=(), device_types="cpu")
def pooled(x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float, border: int, low: bool) -> tuple[Tensor, Tensor]:
    """The pooled maps of images, channels last (n, h / 2, w / 2, d), and of each map mean and inverse deviation (n, 2, d)."""
    given = [part.contiguous() for part in (x, weight, gain, shift)]
    out, moments = places(x, weight, gain, shift, eps, border, low)
    call("first_block", *given, eps, out, moments, sizes=sizes(x, weight, border), low=low)
    return out, moments


@pooled.register_fake
def places(x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float, border: int, low: bool) -> tuple[Tensor, Tensor]:
    n, _, tall, wide = x.shape
    shape = n, (tall + 2 * border) // 2, (wide + 2 * border) // 2, len(weight)
    return x.new_empty(shape, dtype=torch.bfloat16 if low else torch.float32), x.new_empty(n, 2, len(weight))


@torch.library.custom_op("attar::first_block_cpu_slopes", mutates_args=(), device_types="cpu")
def slopes(
    x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, moments: Tensor, up: Tensor, border: int, images: bool, weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Given those in the pooled maps, the slopes in images and what each image adds to those in weights (n, 3, 3, c, d), where asked,
    and in gain and shift (n, 2, d)."""
    given = [part.contiguous() for part in (x, weight, gain, shift, moments, up)]
    found = shares(x, weight, gain, shift, moments, up, border, images, weights)
    asked = [part if part.numel() else None for part in found]
    call("first_block_slopes", *given, *asked, sizes=sizes(x, weight, border), low=up.dtype == torch.bfloat16)
    return found


@slopes.register_fake
def shares(
    x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, moments: Tensor, up: Tensor, border: int, images: bool, weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    n, c, d = len(x), x.shape[1], len(weight)
    return x.new_empty(x.shape if images else 0), x.new_empty((n, 3, 3, c, d) if weights else 0), x.new_empty(n, 2, d)


def kept(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:4], output[1])
    ctx.border = inputs[5]


def back(ctx: Any, up: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    """The slopes in what learns: images, or weights, gain and shift."""
    images, weights = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:4])
    in_images, in_weights, sides = slopes(*ctx.saved_tensors, up, ctx.border, images, weights)
    learned = (in_weights.sum(0).permute(3, 2, 0, 1), *sides.sum(0)) if weights else (None, None, None)
    return in_images if images else None, *learned, None, None, None


pooled.register_autograd(back, setup_context=kept)


def first_block(x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float, border: int) -> Tensor:
    """Convolution (3×3, padding 1 + `border`), instance normalisation, ReLU and 2×2 mean of `x`, computed in float32.

    What comes out has channels last, in bfloat16 under autocast. The sides must be even. A bias of the convolution would be taken out
    again by the normalisation.
    """
    return pooled(x, weight, gain, shift, eps, border, torch.is_autocast_enabled("cpu"))[0].permute(0, 3, 1, 2)
