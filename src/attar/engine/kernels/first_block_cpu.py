"""A ConvNet's first block as one CPU kernel forward and one backward (`first_block.cpp`).

g++ compiles it once for a kind of processor.
"""

import ctypes
import functools
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attar.engine.compiling import constant_when_compiled
from attar.engine.device import say_once
from attar.files import cache_folder, lock_cache, write_beside

SOURCE = Path(__file__).with_name("first_block.cpp")
OPTIONS = ["-O3", "-std=c++17", "-fopenmp", "-shared", "-fPIC"]
VECTORS = {
    "AVX2": ["-mavx2", "-mfma"],
    "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-DLONG"],
}


@functools.cache
def load_library() -> ctypes.CDLL | None:
    """The kernels; `None` without Linux, vectors of at least eight numbers, or g++.

    It is also `None` where compiling or loading them fails, which is said once.
    """
    compiler, vectors = shutil.which("g++"), torch.backends.cpu.get_cpu_capability()
    if sys.platform != "linux" or compiler is None or vectors not in VECTORS:
        return None
    try:
        return compile_once([compiler, *OPTIONS, *VECTORS[vectors]])
    except (OSError, subprocess.CalledProcessError) as error:
        lines = [*(getattr(error, "stderr", None) or "").splitlines(), str(error)]
        told = next((line for line in lines if "error" in line), lines[0])
        say_once(f"the first block of networks could not be compiled or loaded, so that they are slower: {told}")
        return None


def compile_once(command: list[str]) -> ctypes.CDLL:
    """From the cache, once `command` has made it."""
    version = run_command([command[0], "-dumpfullversion"])
    key = hashlib.blake2b(SOURCE.read_bytes() + " ".join([version, *command]).encode(), digest_size=16).hexdigest()
    path = cache_folder() / "kernels" / f"{key}.so"
    if not path.exists():
        with lock_cache(path.parent), write_beside(path) as temporary:
            run_command([*command, str(SOURCE), "-o", str(temporary)])
            ctypes.CDLL(str(temporary))  # what cannot be loaded is not kept
    return ctypes.CDLL(str(path))


def run_command(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout


@constant_when_compiled
def maps_at_a_time() -> int:
    """How many the kernels make at once, and of which a multiple is what they can make; 0 where there are none."""
    found = load_library()
    return ctypes.c_int64.in_dll(found, "first_block_maps").value if found else 0


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels can make these maps of such images."""
    (_, c, tall, wide), some = x.shape, maps_at_a_time()
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and tall % 2 == wide % 2 == 0
    return plain and c in (1, 3) and weight.shape[1:] == (c, 3, 3) and some > 0 and weight.shape[0] % some == 0


def call(name: str, *given: Tensor | float | None, numbers: list[int], low: bool) -> None:
    """The library's function, its arguments in the order of its declaration.

    `numbers` are as `struct Sizes` has them, but for the threads.
    """
    arguments = [
        ctypes.c_float(x) if isinstance(x, float) else ctypes.c_void_p(None if x is None else x.data_ptr())
        for x in given
    ]
    threads = max(1, min(torch.get_num_threads(), numbers[0]))
    getattr(load_library(), name)(*arguments, (ctypes.c_int64 * 7)(*numbers, threads), ctypes.c_bool(low))


def sizes(x: Tensor, weight: Tensor, border: int) -> list[int]:
    return [*x.shape, border, len(weight)]


# What torch keeps of a compiled network on disk has this file's shapes and sums in it, under the names of these
# functions.
VERSION = hashlib.blake2b(SOURCE.read_bytes() + Path(__file__).read_bytes(), digest_size=8).hexdigest()


@torch.library.custom_op(f"attar::first_block_{VERSION}", mutates_args=(), device_types="cpu")
def pooled(
    x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float, border: int, low: bool
) -> tuple[Tensor, Tensor]:
    """The pooled maps of images, channels last (n, h / 2, w / 2, d), and the moments of each map (n, 2, d).

    Moments are the mean and the inverse deviation.
    """
    out, moments = shape_pooled(x, weight, gain, shift, eps, border, low)
    given = [part.contiguous() for part in (x, weight, gain, shift)]
    call("first_block", *given, eps, out, moments, numbers=sizes(x, weight, border), low=low)
    return out, moments


@pooled.register_fake
def shape_pooled(
    x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float, border: int, low: bool
) -> tuple[Tensor, Tensor]:
    """Raises `ValueError` for what the kernels, which take but addresses, cannot work on."""
    if not fits(x, weight) or not gain.dtype == shift.dtype == torch.float32:
        images = f"{tuple(x.shape)} in {x.dtype}"
        raise ValueError(f"the first block does not make maps by {tuple(weight.shape)} weights of images {images}")
    (n, _, tall, wide), d = x.shape, weight.shape[0]
    shape = n, (tall + 2 * border) // 2, (wide + 2 * border) // 2, d
    return x.new_empty(shape, dtype=torch.bfloat16 if low else torch.float32), x.new_empty(n, 2, d)


@torch.library.custom_op(f"attar::first_block_gradients_{VERSION}", mutates_args=(), device_types="cpu")
def block_gradients(
    x: Tensor,
    weight: Tensor,
    gain: Tensor,
    shift: Tensor,
    moments: Tensor,
    up: Tensor,
    border: int,
    images: bool,
    weights: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Given the gradients `up` in the pooled maps, those in images, in weights, and in gain and shift.

    The last two are what each image adds to them: (n, 3, 3, c, d) and (n, 2, d). The first two are made where `images`
    and `weights` ask for them.
    """
    found = shape_gradients(x, weight, images, weights)
    given = [part.contiguous() for part in (x, weight, gain, shift, moments, up)]
    asked = [part if part.numel() else None for part in found]
    call("first_block_gradients", *given, *asked, numbers=sizes(x, weight, border), low=up.dtype == torch.bfloat16)
    return found


@block_gradients.register_fake
def shape_gradients(x: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    images, weights = others[-2:]
    n, c, d = x.shape[0], x.shape[1], weight.shape[0]
    return x.new_empty(x.shape if images else 0), x.new_empty((n, 3, 3, c, d) if weights else 0), x.new_empty(n, 2, d)


def keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:4], output[1])
    ctx.border = inputs[5]


def backward(ctx: Any, up: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    """The gradients in what learns: images, or weights, gain and shift."""
    images, weights = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:4])
    in_images, in_weights, sides = block_gradients(*ctx.saved_tensors, up, ctx.border, images, weights)
    learned = (in_weights.sum(0).permute(3, 2, 0, 1), *sides.sum(0)) if weights else (None, None, None)
    return in_images if images else None, *learned, None, None, None


pooled.register_autograd(backward, setup_context=keep_for_backward)


def first_block(x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float, border: int) -> Tensor:
    """Convolution (3×3, padding 1 + `border`), instance normalisation, ReLU and 2×2 mean of `x`, computed in float32.

    What comes out has channels last, in bfloat16 under autocast. A `ValueError` is raised unless there are one or three
    channels, even sides, and a multiple of `maps_at_a_time()` maps. A bias of the convolution would be taken out again
    by the normalisation.
    """
    low = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return pooled(x, weight, gain, shift, eps, border, low)[0].permute(0, 3, 1, 2)
