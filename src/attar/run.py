"""Where and how a method runs: randomness, folder, device, precision, compilation, share of the classes."""

import contextlib
import ctypes
import functools
import logging
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from attar.names import unknown
from attar.rng import CPU, Rng

if TYPE_CHECKING:
    from attar.task import Task

Precision = Literal["fp32", "tf32", "bf16"]
Compile = Literal["auto", "on", "off"]
Progress = Callable[[int, int, float], None]
Function = TypeVar("Function", bound=Callable[..., Any])
EAGER_FLOPS = {"cpu": 5e10, "cuda": 1e13}  # a second of eager execution, conservatively; CPU: a thread
WORTH_COMPILING = 60  # seconds of eager work
# Images that pass a network at once, without and with a graph; CPU: a thread, what its caches hold from one layer to the next at 32 pixels.
SLICE, GRAPH = {"cpu": 40, "cuda": 2560}, {"cpu": 40, "cuda": 1024}


def silent(done: int, total: int, loss: float) -> None:
    """The progress of a run nobody watches."""


@dataclass(frozen=True)
class Run:
    """`classes` limits a run to a shard of them; about `chunk` synthetic images share a graph (`None`: as many as suit the device);
    a `rehearsal` compiles nothing.
    """

    rng: Rng
    folder: Path | None = None
    device: torch.device = CPU
    precision: Precision = "fp32"
    compile: Compile = "auto"
    classes: tuple[int, ...] | None = None
    chunk: int | None = None
    rehearsal: bool = False
    progress: Progress = silent
    engines: dict[str, int] = field(default_factory=dict, compare=False)
    """What ran, and how many floating-point operations were asked of it."""
    cached_seconds: list[float] = field(default_factory=list, compare=False)
    """What stages took that were found in the cache: a run's seconds do not depend on who ran before."""

    def shard(self, task: "Task") -> tuple[int, ...]:
        return self.classes if self.classes is not None else tuple(range(len(task.classes)))

    def chunks(self, classes: Sequence[int], each: int, graphs: bool = True) -> Iterator[Sequence[int]]:
        """Classes with `each` images, in equal groups of at most `chunk` images, or of one class; eight times as many without a graph."""
        most = (self.chunk or GRAPH[self.device.type] * threads(self.device)) * (1 if graphs else 8)
        groups = -(-len(classes) // max(1, most // each))
        size = -(-len(classes) // groups)
        for i in range(0, len(classes), size):
            yield classes[i : i + size]

    def slice_size(self, n: int) -> int:
        """Of how many images each the slices are in which `n` of them pass a network without a graph."""
        return evenly(n, SLICE[self.device.type] * threads(self.device))

    def engine(self, function: Callable[..., Any], flop: int) -> Callable[..., Any]:
        """`function(weights, images)` in this run's precision, compiled if `flop`, all the work ahead, is worth it.

        Inside, convolutions and matrix products run in low precision where asked; what comes out is float32.
        """
        lowered = self._lowered(function)
        compiles = not self.rehearsal and self.compiles(flop)
        ran = "compiled" if compiles else "eager"
        self.engines[ran] = self.engines.get(ran, 0) + flop
        if self.device.type == "cpu":
            keep_freed_memory()
        if not compiles:
            return lowered
        torch.compiler.reset()  # what earlier runs compiled counts against the limit of one function's variants
        return torch.compile(lowered, dynamic=False, fullgraph=True)

    def fused(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What surrounds networks, compiled where that lets many small kernels of a GPU be one; in float32."""
        if self.device.type == "cpu" or "compiled" not in self.engines:
            return function
        return torch.compile(function, dynamic=False, fullgraph=True)

    def compiles(self, flop: int) -> bool:
        """Whether work of that size is compiled. Raises `ValueError` where that is asked for and there is no compiler."""
        if self.compile == "off" or (self.compile == "auto" and not worth_compiling(flop, self.device)):
            return False
        if has_compiler(self.device):
            return True
        if self.compile == "on":
            raise ValueError("compiling needs a C++ compiler (g++ or clang++) on this machine: leave compile at auto, or install one")
        say_once("no C++ compiler (g++ or clang++) on this machine: networks run eagerly, which takes half as long again")
        return False

    def _lowered(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self.precision != "bf16":
            return function

        def lowered(w, x: Tensor, **options):
            with torch.autocast(x.device.type, torch.bfloat16):
                out = function(w, x, **options)
            return out.float() if isinstance(out, Tensor) else tuple(part.float() if isinstance(part, Tensor) else part for part in out)

        return lowered


def constant(function: Function) -> Function:
    """Compiled code takes what `function` gives as a constant: `torch.compiler.assume_constant_result`, which imports the compiler
    where attar is imported. That takes as long as importing torch, and what neither compiles nor trains does without.
    """
    vars(function)["_dynamo_marked_constant"] = True
    return function


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


def current(device: torch.device) -> contextlib.AbstractContextManager:
    """A GPU that is not the first is the one that streams, graphs and kernels mean inside the block."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@contextlib.contextmanager
def full_precision(unless: bool) -> Iterator[None]:
    """float32 products at full precision inside the block, or `unless` in tf32, and the same bits each time.

    Torch keeps this globally, so it is given back.
    """
    cudnn = torch.backends.cudnn
    earlier = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.deterministic
    torch.set_float32_matmul_precision("high" if unless else "highest")
    cudnn.allow_tf32, cudnn.deterministic = unless, True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(earlier[0])
        cudnn.allow_tf32, cudnn.deterministic = earlier[1:]


def device_of(name: str | torch.device) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N`. Raises `ValueError` for one that is unknown or not there."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else str(name)
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise ValueError(f"unknown device {name!r}; known: auto, cpu, cuda")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"torch finds no device {name} on this machine")
    return device


def engine(device: str | torch.device, precision: Precision | None) -> tuple[torch.device, Precision]:
    """The device, and the precision asked for or what its hardware is best at. Raises `ValueError` where there is none such."""
    device = device_of(device)
    if precision not in (None, *get_args(Precision)):
        raise ValueError(unknown("precision", str(precision), get_args(Precision)))
    return device, precision or default_precision(device)


def default_precision(device: torch.device) -> Precision:
    """bf16 where the hardware multiplies in it, fp32 elsewhere."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # torch has no public name for it
    return "bf16" if has_bf16() else "fp32"


def worth_compiling(flop: int, device: torch.device) -> bool:
    """Whether eager execution would take so long that compiling first is faster."""
    return flop > WORTH_COMPILING * eager_flops(device)


def has_compiler(device: torch.device) -> bool:
    """C++ for loops on a CPU; C for what launches a GPU's kernels."""
    names = {"cpu": ("g++", "clang++", "cl"), "cuda": ("gcc", "clang", "cc")}
    return any(shutil.which(name) for name in names[device.type])


@functools.cache
def say_once(what: str) -> None:
    logging.getLogger("attar").warning(what)


def eager_flops(device: torch.device) -> float:
    return EAGER_FLOPS[device.type] * threads(device)


def threads(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


def evenly(n: int, most: int) -> int:
    """The size of as few equal slices of `n` rows as hold at most `most` each."""
    return -(-n // -(-n // most))


def at_rows(rows: Sequence[int]) -> slice | list[int]:
    """What takes `rows` of a tensor: where they follow one another a slice, for which nothing is copied, nor waited for on a GPU."""
    together = range(rows[0], rows[-1] + 1)
    return slice(together.start, together.stop) if list(rows) == list(together) else list(rows)


def sent(x: Tensor, device: torch.device) -> Tensor:
    """What was made on the host, on `device`, for whose copy the host does not wait."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x


def sliced(function: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """`function` over slices of `size` rows, the last one filled up, so that a compiled function meets one shape."""
    parts = []
    for part in x.split(size):
        short = min(size, len(x)) - len(part)
        padded = torch.cat([part, part[:1].expand(short, *part.shape[1:])]) if short else part
        parts.append(function(padded)[: len(part)])
    return torch.cat(parts)
