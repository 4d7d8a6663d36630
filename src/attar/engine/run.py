"""A run: what is asked of it, and what ran."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from attar.engine.compiling import Compile, compile_whole, compiles, ensure_compiler_folder
from attar.engine.device import keep_freed_memory, threads
from attar.engine.precision import Precision, lower
from attar.engine.slices import even_size
from attar.rng import CPU, Rng

Progress = Callable[[int, int, float], None]
# Images that pass a network at once, without and with a graph. CPU: a thread's, as many as its caches hold from one
# layer to the next at 32 pixels a side.
SLICE, GRAPH = {"cpu": 40, "cuda": 2560}, {"cpu": 40, "cuda": 1024}


def silent(done: int, total: int, loss: float) -> None:
    """The progress of a run nobody watches."""


@dataclass
class Ledger:
    """What ran, as it runs."""

    flop: dict[str, int] = field(default_factory=dict)
    """Floating-point operations asked of functions that were `compiled`, and of those that were `eager`."""
    made: dict[Hashable, Any] = field(default_factory=dict)
    """What was made once and is kept, such as compiled functions."""
    checkpoint: int = 0
    """Bytes of a checkpoint."""
    cached_seconds: list[float] = field(default_factory=list)
    """What stages took that were found in the cache: a run's seconds do not depend on who ran before."""

    def fall(self, flop: int) -> None:
        """A function of so many operations could not be compiled after all."""
        self.flop["eager"] = self.flop.get("eager", 0) + flop
        self.flop["compiled"] -= flop
        if not self.flop["compiled"]:
            del self.flop["compiled"]


@dataclass(frozen=True)
class Run:
    """What is asked: randomness, folder, device, precision, compiling, and the share of the classes.

    `classes` limits a run to a shard of them. About `chunk` synthetic images share a graph; `None` is as many as suit
    the device. A `rehearsal` compiles nothing. `progress(done, total, loss)` is called after every update.
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
    ledger: Ledger = field(default_factory=Ledger, compare=False, repr=False)

    def shard(self, classes: int) -> tuple[int, ...]:
        """The run's share of so many classes."""
        return self.classes if self.classes is not None else tuple(range(classes))

    def chunks(self, classes: Sequence[int], each: int, graphs: bool = True) -> Iterator[Sequence[int]]:
        """Classes with `each` images, in equal groups of at most `chunk` images, or of one class.

        Without a graph groups are eight times as large.
        """
        # With a graph every layer's maps are kept until the backward pass; without one only those of one layer.
        most = (self.chunk or GRAPH[self.device.type] * threads(self.device)) * (1 if graphs else 8)
        groups = -(-len(classes) // max(1, most // each))  # equal groups: a compiled function meets two shapes at most
        size = -(-len(classes) // groups)
        for i in range(0, len(classes), size):
            yield classes[i : i + size]

    def slice_size(self, n: int) -> int:
        """How many of `n` images pass a network at once without a graph."""
        return even_size(n, SLICE[self.device.type] * threads(self.device))

    def engine(self, function: Callable[..., Any], flop: int) -> Callable[..., Any]:
        """`function` on this run's engine: in its precision, and compiled where that pays.

        It pays where `flop`, all the floating-point operations that the run will ask of it, backward included, take
        over a minute. To prepare one function drops what others have compiled so far. So ask for all of them before
        the first update.

        `function` takes tensors, in tuples, lists and dicts, and always of the same few shapes. What it returns has
        the same structure in every precision, and tensors of float32 or longer. It is called without `create_graph`:
        a second derivative is taken inside of it, by `torch.func.grad` (`Network.gradient`).
        """
        compiled = not self.rehearsal and self.compiles(flop)
        kind = "compiled" if compiled else "eager"
        self.ledger.flop[kind] = self.ledger.flop.get(kind, 0) + flop
        key = function, self.device, self.precision, compiled
        return self.once(key, lambda: self._prepare(function, compiled, flop))

    def announce(self, function: Callable[..., Any], flop: int) -> None:
        """Decide for a function that is asked for later, a little work at a time, such as `train` does."""
        self.ledger.made["announced", function] = self.engine(function, flop)

    def announced(self, function: Callable[..., Any], flop: int) -> Callable[..., Any]:
        """`function` on the engine that was announced for it, or else as `flop` decides."""
        return self.ledger.made.get(("announced", function)) or self.engine(function, flop)

    def fuse(self, function: Callable[..., Any], flop: int) -> Callable[..., Any]:
        """What surrounds networks, whose operations are `flop`: compiled on a GPU, where small kernels become one.

        It stays in float32. On a CPU it is the function itself.
        """
        fuses = self.device.type != "cpu" and not self.rehearsal and self.compiles(flop)
        return compile_whole(function) if fuses else function

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make()` gives, made at the first call with this key."""
        if key not in self.ledger.made:
            self.ledger.made[key] = make()
        return self.ledger.made[key]

    def compiles(self, flop: int) -> bool:
        """Whether work of that size is compiled.

        Raises `ValueError` where that is asked for and no compiler works.
        """
        return compiles(flop, self.device, self.compile)

    def _prepare(self, function: Callable[..., Any], compiled: bool, flop: int) -> Callable[..., Any]:
        ensure_compiler_folder()
        if self.device.type == "cpu":  # here, since only what runs networks profits
            keep_freed_memory()
        prepared = lower(function, self.device) if self.precision == "bf16" else function
        if not compiled:
            return prepared
        torch.compiler.reset()  # what was compiled before counts against the limit of one function's variants
        return compile_whole(prepared, lambda: self.ledger.fall(flop))
