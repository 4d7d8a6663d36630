"""The one loop: terms to gradients to steps, with a finite guard, checkpoints, metrics and progress."""

import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from attar.files import beside, read_tensors, write_tensors
from attar.replay import Replay
from attar.rng import Rng
from attar.run import Run

Syn = TypeVar("Syn", bound=nn.Module)


@dataclass(frozen=True)
class Terms:
    """The terms of an update as a function of tensors, always the same one: a GPU records it with its gradients, and replays it."""

    function: Callable[..., Iterable[Tensor]]
    inputs: tuple[Any, ...]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.function(*self.inputs))


Episode = Callable[[Any, Rng], Iterator[Iterable[Tensor]]]
CHECKPOINT, METRICS = "checkpoint.safetensors", "metrics.jsonl"
CHECKPOINT_EVERY = 30.0  # seconds
GUARD_EVERY = 100  # updates between looks at a GPU's losses; each look waits for the device
BOUNDARY_EVERY = 1.0  # seconds between copies of the state to go on from; each waits for the device, and may be large


def optimise(
    episode: Episode,
    syn: Syn,
    opt: torch.optim.Optimizer,
    *,
    updates: int,
    run: Run,
    lr: Callable[[int], float] | None = None,
    state: nn.Module | None = None,
) -> Syn:
    """`updates` steps of `opt` on `syn`, along as many episodes as that takes.

    An episode is the life of one network: it yields the terms of one update at a time, and their gradients add up.
    `lr(done)` is the step size after `done` updates. What outlives an episode is in `state`. With a folder, a checkpoint
    falls between two episodes, every `CHECKPOINT_EVERY` seconds and when the loop is interrupted, and a run that finds one
    goes on from it to the same bits. Raises `ValueError` where a loss stops being finite; the checkpoint then holds the
    last good state.
    """
    learned = nn.ModuleDict({"syn": syn, "state": nn.Module() if state is None else state})
    journal, gradients = Journal(run), Gradients(learned)
    done, episodes = restore(run.folder, learned, opt)
    journal.keep(done)
    boundary = snapshot(learned, opt, done, episodes)
    copied = saved = time.monotonic()
    try:
        while done < updates:
            before, rng = done, run.rng.fold("episode", episodes)
            with rng.fold("network's own").scope(run.device):  # dropout takes no generator
                for terms in itertools.islice(episode(syn, rng), updates - done):
                    assert torch.is_grad_enabled(), "an episode must not yield inside no_grad"
                    if lr is not None:
                        set_lr(opt, lr(done))
                    journal.add(done, step(gradients(terms), opt))
                    done += 1
                    run.progress(done, updates, journal.last)
            assert done > before, "an episode must yield an update"
            episodes += 1
            if done < updates and time.monotonic() - copied < BOUNDARY_EVERY:
                continue
            journal.check()
            finite(learned, done)
            boundary, copied = snapshot(learned, opt, done, episodes), time.monotonic()
            if time.monotonic() - saved > CHECKPOINT_EVERY:
                save(run.folder, boundary)
                saved = time.monotonic()
    finally:
        save(run.folder, boundary)
    return syn


def set_lr(opt: torch.optim.Optimizer, lr: float) -> None:
    for group in opt.param_groups:
        group["lr"] = lr


class Gradients:
    """Leaves the gradients of summed terms in parameters, and returns the sum; one term's graph is alive at a time."""

    def __init__(self, learned: nn.Module):
        self.params = [p for p in learned.parameters() if p.requires_grad]
        self.replays: dict[Callable[..., Any], Replay] = {}

    def __call__(self, terms: Iterable[Tensor]) -> Tensor:
        if isinstance(terms, Terms):
            function = terms.function
            if function not in self.replays:
                self.replays[function] = Replay(lambda *inputs: self.summed(function(*inputs)))
            total, slopes = self.replays[function](*terms.inputs)
        else:
            total, slopes = self.summed(terms)
        for parameter, slope in zip(self.params, slopes, strict=True):
            parameter.grad = slope
        return total.clone()  # a replay writes there again

    def summed(self, terms: Iterable[Tensor]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The sum, and its gradient in each parameter, `None` where it has none."""
        total: Tensor | None = None
        slopes: list[Tensor | None] = [None] * len(self.params)
        for term in terms:
            more = [None if slope is None else slope.contiguous() for slope in torch.autograd.grad(term, self.params, allow_unused=True)]
            slopes = [new if old is None else old if new is None else old + new for old, new in zip(slopes, more, strict=True)]
            total = term.detach() if total is None else total + term.detach()
        assert total is not None, "an update needs a term"
        return total, tuple(slopes)


def step(total: Tensor, opt: torch.optim.Optimizer) -> Tensor:
    """One update by the gradients of that loss."""
    if total.device.type == "cuda" or total.isfinite():  # else the journal raises, before this gradient is used
        opt.step()
    return total


class WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, grad: Tensor) -> Tensor:
        ctx.save_for_backward(grad)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[None, Tensor, None]:
        (grad,) = ctx.saved_tensors
        return None, up[0].reshape(up[0].shape + (1,) * (grad.ndim - up[0].ndim)) * grad, None


def with_gradient(value: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    """`value`, with the derivative `grad` with respect to `x`, computed by hand; its shape is that of the leading dimensions of `x`."""
    return WithGradient.apply(value.detach(), x, grad.detach())


class Journal:
    """Losses on their way to `metrics.jsonl`, and the finite guard over them."""

    def __init__(self, run: Run):
        self.path = run.folder and run.folder / METRICS
        self.pending: list[tuple[int, Tensor]] = []
        self.last = float("nan")
        self.start = time.perf_counter()

    def keep(self, done: int) -> None:
        """Drop the lines of updates that the checkpoint does not hold; they will be made again."""
        if self.path is None:
            return
        kept = metrics(self.path.parent)[:done]
        self.start -= kept[-1]["seconds"] if kept else 0.0
        with beside(self.path) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))

    def add(self, update: int, loss: Tensor) -> None:
        self.pending.append((update, loss))
        if loss.device.type == "cpu" or len(self.pending) >= GUARD_EVERY:
            self.check()

    def check(self) -> None:
        """Write what is pending. Raises `ValueError` at the first loss that is not finite."""
        pending, self.pending = self.pending, []
        seconds = round(time.perf_counter() - self.start, 3)
        lines: list[str] = []
        losses = torch.stack([loss for _, loss in pending]).tolist() if pending else []  # one wait for the device
        for (update, _), self.last in zip(pending, losses, strict=True):
            if not math.isfinite(self.last):
                self.append(lines)
                raise ValueError(f"the loss became {self.last} at update {update}: lower the step size (lr), or look at the data")
            lines.append(json.dumps({"update": update, "loss": self.last, "seconds": seconds}) + "\n")
        self.append(lines)

    def append(self, lines: list[str]) -> None:
        if self.path is not None and lines:
            with self.path.open("a") as file:
                file.writelines(lines)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """What a run has written of each update: its number, loss, and seconds since the run began, pauses left out."""
    path = folder / METRICS
    try:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("\n")]  # a kill may have cut the last one
    except ValueError:
        raise ValueError(f"{path} is damaged: not JSON") from None
    if not all(isinstance(entry, dict) and {"update", "loss", "seconds"} <= entry.keys() for entry in entries):
        raise ValueError(f"{path} was not written by attar")
    return entries


def finite(learned: nn.Module, done: int) -> None:
    for name, tensor in learned.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} became non-finite by update {done}: lower the step size (lr), or look at the data")


Snapshot = tuple[dict[str, Tensor], dict[str, Any]]


def snapshot(learned: nn.Module, opt: torch.optim.Optimizer, done: int, episodes: int) -> Snapshot:
    """A copy of everything a run needs to go on: tensors, and the rest as JSON."""
    tensors = {f"learned.{name}": tensor.clone() for name, tensor in learned.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, entry in opt.state_dict()["state"].items():
        for name, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"opt.{index}.{name}"] = value.clone()
            else:
                numbers[f"{index}.{name}"] = value
    return tensors, {"done": done, "episodes": episodes, "opt": numbers}


def save(folder: Path | None, boundary: Snapshot) -> None:
    if folder is not None:
        write_tensors(folder / CHECKPOINT, *boundary)


def restore(folder: Path | None, learned: nn.Module, opt: torch.optim.Optimizer) -> tuple[int, int]:
    """Load the folder's checkpoint, if there is one, and say how many updates and episodes it holds."""
    if folder is None or not (folder / CHECKPOINT).exists():
        return 0, 0
    tensors, meta = read_tensors(folder / CHECKPOINT)
    if not {"done", "episodes", "opt"} <= meta.keys():
        raise ValueError(f"{folder / CHECKPOINT} is no checkpoint")
    entries: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *((f"opt.{k}", v) for k, v in meta["opt"].items())]:
        kind, index, *rest = name.split(".", 2)
        if kind == "opt":
            entries.setdefault(int(index), {})[rest[0]] = value
    try:
        learned.load_state_dict({k.removeprefix("learned."): v for k, v in tensors.items() if k.startswith("learned.")})
    except RuntimeError:
        raise ValueError(f"{folder / CHECKPOINT} belongs to another run: its tensors do not fit this one") from None
    opt.load_state_dict({"state": entries, "param_groups": opt.state_dict()["param_groups"]})
    return meta["done"], meta["episodes"]


class Average(nn.Module):
    """A running average of what `read()` gives after each update: after n of them the weight of the one k ago is ∝ decay^k."""

    value_: Tensor
    weight: Tensor

    def __init__(self, read: Callable[[], Tensor], decay: float):
        super().__init__()
        if not decay < 1:
            raise ValueError(f"average must be below 1, not {decay}")
        self.read, self.decay = read, decay
        start = read().detach()
        self.register_buffer("value_", torch.zeros_like(start))
        self.register_buffer("weight", torch.zeros((), device=start.device))

    def along(self, episode: Episode) -> Episode:
        """The same episode, followed after each of its updates but a run's last, at which the loop stops asking."""

        def followed(syn: nn.Module, rng: Rng) -> Iterator[Iterable[Tensor]]:
            for terms in episode(syn, rng):
                yield terms
                self.value_.lerp_(self.read().detach(), 1 - self.decay)
                self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)

        return followed

    def value(self) -> Tensor:
        return self.value_ / self.weight if self.weight > 0 else self.read().detach()
