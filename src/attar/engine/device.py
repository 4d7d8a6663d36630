"""The device a run is on: parsed from its name, made the current one, fed without waiting."""

import contextlib
import ctypes
import functools
import logging
import re
import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

EAGER_FLOPS = {"cpu": 5e10, "cuda": 1e13}  # a second of eager execution, conservatively; CPU: a thread


def parse_device(name: str | torch.device) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N`. Raises `ValueError` for one that is unknown or not there."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else str(name)
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise ValueError(f"unknown device {name!r}; known: auto, cpu, cuda")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"torch finds no device {name} on this machine")
    return device


def use_device(device: torch.device) -> contextlib.AbstractContextManager:
    """Inside the block a GPU that is not the first is the one that streams, graphs and kernels mean."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def threads(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


@contextlib.contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Inside the block torch computes in so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def eager_flops(device: torch.device) -> float:
    """Floating-point operations a second, without compiling."""
    return EAGER_FLOPS[device.type] * threads(device)


def send(x: Tensor, device: torch.device) -> Tensor:
    """What was made on the host, on `device`; the host does not wait for the copy."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x


def in_one_kernel(parameters: Sequence[Tensor]) -> bool | None:
    """Torch's `fused=` of optimisers: one kernel for all parameters on a GPU; elsewhere torch decides."""
    return True if parameters[0].is_cuda else None


@functools.cache
def keep_freed_memory() -> None:
    """Ask glibc to reuse large freed blocks instead of returning them to the system after every layer.

    Otherwise each activation's pages are mapped and zeroed anew, which takes a third of a network's time on a CPU.
    """
    mmap_threshold, trim_threshold, top = -3, -1, 2**30
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(mmap_threshold, top)
        mallopt(trim_threshold, top)


@functools.cache
def say_once(what: str) -> None:
    logging.getLogger("attar").warning(what)
