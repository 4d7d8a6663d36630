"""In which precision networks run: `fp32`, `tf32` or `bf16`. What surrounds them stays in float32."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from attar.engine.device import parse_device
from attar.engine.structures import map_tensors
from attar.wording import unknown

Precision = Literal["fp32", "tf32", "bf16"]


def choose_device_and_precision(
    device: str | torch.device, precision: Precision | None
) -> tuple[torch.device, Precision]:
    """The device, and the precision asked for or else what its hardware is best at.

    Raises `ValueError` for a device or a precision that is unknown or not there.
    """
    device = parse_device(device)
    if precision not in (None, *get_args(Precision)):
        raise ValueError(unknown("precision", str(precision), get_args(Precision)))
    return device, precision or default_precision(device)


def default_precision(device: torch.device) -> Precision:
    """bf16 where the hardware multiplies in it, fp32 elsewhere."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # torch has no public name for it
    return "bf16" if has_bf16() else "fp32"


@contextlib.contextmanager
def use_precision(precision: Precision) -> Iterator[None]:
    """Inside the block float32 products are exact, or rounded to tf32 where that is asked for; the same bits each time.

    Torch keeps this globally, so what was set before is set again at the end.
    """
    cudnn, rounded = torch.backends.cudnn, precision == "tf32"
    earlier = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.deterministic
    torch.set_float32_matmul_precision("high" if rounded else "highest")
    # Without the second, cuDNN may pick kernels that add up in another order each time.
    cudnn.allow_tf32, cudnn.deterministic = rounded, True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(earlier[0])
        cudnn.allow_tf32, cudnn.deterministic = earlier[1:]


def lower(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`function` with its convolutions and products in bfloat16; its results have the same structure, in float32."""

    def lowered(*given: Any, **options: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            found = function(*given, **options)
        return map_tensors(found, at_least_single)

    return lowered


def at_least_single(x: Tensor) -> Tensor:
    """In float32 where its numbers were shorter: means in low precision would lose what they average."""
    return x.float() if x.is_floating_point() and x.dtype.itemsize < 4 else x
