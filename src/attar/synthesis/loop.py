"""The one loop: terms to gradients to steps."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from attar.arguments import checked
from attar.condensed.condensed_set import CondensedSet
from attar.engine.cuda_graphs import Replay
from attar.engine.run import Run
from attar.rng import Rng
from attar.synthesis.checkpoint import check_finite, count_bytes, restore, save_checkpoint, take_snapshot
from attar.synthesis.journal import Journal


@runtime_checkable
class Synthetic(Protocol):
    """What is learned, an `nn.Module`: pixels, or codes that a generator makes images of. Five names make one."""

    classes: tuple[int, ...]
    """Those of this shard."""

    @property
    def each(self) -> int:
        """Network-ready images of a class."""

    def of(self, classes: Sequence[int]) -> Tensor:
        """Network-ready images of some classes, `(k, each, *shape)`, differentiable."""

    def forward(self) -> tuple[Tensor, Tensor]:
        """All network-ready images with their labels, hard or soft."""

    def export(self) -> CondensedSet:
        """The artefact as things stand."""


Learned = TypeVar("Learned", bound=nn.Module)


@dataclass(frozen=True)
class Terms:
    """The terms of an update as a function of tensors.

    It is always the same function: a GPU records it with its gradients, and replays it.
    """

    function: Callable[..., Iterable[Tensor]]
    inputs: tuple[Any, ...]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.function(*self.inputs))


Episode = Callable[[Any, Rng], Iterator[Iterable[Tensor]]]
CHECKPOINT_EVERY = 30.0  # seconds
BOUNDARY_EVERY = 1.0  # seconds between copies of the state to go on from; each waits for the device, and may be large


@checked
def optimise(
    episode: Episode,
    syn: Learned,
    opt: torch.optim.Optimizer,
    *,
    updates: int,
    run: Run,
    schedule: Callable[[int], float] | None = None,
    state: nn.Module | None = None,
) -> Learned:
    """`updates` steps of `opt` on `syn`, along as many episodes as that takes.

    An episode is the life of one network: it yields the terms of one update at a time, and their gradients add up.
    After `done` updates each parameter group takes its own step size times `schedule(done)`. What outlives an episode
    is in `state`.

    With a folder, a checkpoint falls between two episodes, every `CHECKPOINT_EVERY` seconds and when the loop is
    interrupted. A run that finds one goes on from it to the same bits. Raises `ValueError` where a loss stops being
    finite; the checkpoint then holds the last good state.
    """
    learned = nn.ModuleDict({"syn": syn, "state": nn.Module() if state is None else state})
    journal, gradients = Journal(run), Gradients(learned)
    done, episodes = restore(run, learned, opt)
    # Each group keeps its own: a learned step size is in a group with a step of its own.
    rates = [group["lr"] for group in opt.param_groups]
    journal.keep(done)
    # Between two episodes only these two live. So that is where a checkpoint falls, and all that it holds.
    boundary = take_snapshot(learned, opt, done, episodes)
    copied = saved = time.monotonic()
    try:
        while done < updates:
            before, rng = done, run.rng.fold("episode", episodes)
            with rng.fold("network's own").scope(run.device):  # dropout takes no generator
                # The budget may end in the middle of an episode: it is asked for no more than is left.
                for terms in itertools.islice(episode(syn, rng), updates - done):
                    assert torch.is_grad_enabled(), "an episode must not yield inside no_grad"
                    if schedule is not None:
                        scale_rates(opt, rates, schedule(done))
                    journal.add(done, step(gradients(terms), opt))
                    done += 1
                    run.progress(done, updates, journal.last)
            assert done > before, "an episode must yield an update"
            episodes += 1
            if done < updates and time.monotonic() - copied < BOUNDARY_EVERY:
                continue
            # Before the copy: no checkpoint ever holds a number that is not finite.
            journal.check()
            check_finite(learned, done)
            boundary, copied = take_snapshot(learned, opt, done, episodes), time.monotonic()
            if time.monotonic() - saved > CHECKPOINT_EVERY:
                save_checkpoint(run, boundary)
                saved = time.monotonic()
    finally:  # also after Ctrl-C and errors: the last good boundary is never lost
        save_checkpoint(run, boundary)
        run.ledger.checkpoint = count_bytes(learned, opt)
        scale_rates(opt, rates, 1.0)  # as they were given, for who goes on with this optimiser
    return syn


def scale_rates(opt: torch.optim.Optimizer, rates: Sequence[float], factor: float) -> None:
    for group, rate in zip(opt.param_groups, rates, strict=True):
        group["lr"] = rate * factor


class Gradients:
    """Leaves the gradients of summed terms in parameters, and returns the sum; one term's graph is alive at a time."""

    def __init__(self, learned: nn.Module):
        self.params = [p for p in learned.parameters() if p.requires_grad]
        self.replays: dict[Callable[..., Any], Replay] = {}

    def __call__(self, terms: Iterable[Tensor]) -> Tensor:
        if isinstance(terms, Terms):
            function = terms.function
            if function not in self.replays:
                self.replays[function] = Replay(lambda *inputs: self.add_up(function(*inputs)))
            total, gradients = self.replays[function](*terms.inputs)
        else:
            total, gradients = self.add_up(terms)
        for parameter, gradient in zip(self.params, gradients, strict=True):
            parameter.grad = gradient
        return total.clone()  # a replay writes there again

    def add_up(self, terms: Iterable[Tensor]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The sum, and its gradient in each parameter, `None` where it has none."""
        total: Tensor | None = None
        sums: list[Tensor | None] = [None] * len(self.params)
        for term in terms:
            # A term covers some of the classes, and what outlives episodes may have parameters of its own.
            found = torch.autograd.grad(term, self.params, allow_unused=True)
            # Optimisers that update all parameters in one kernel want them contiguous.
            more = [None if gradient is None else gradient.contiguous() for gradient in found]
            sums = [
                new if old is None else old if new is None else old + new for old, new in zip(sums, more, strict=True)
            ]
            total = term.detach() if total is None else total + term.detach()
        assert total is not None, "an update needs a term"
        return total, tuple(sums)


def step(total: Tensor, opt: torch.optim.Optimizer) -> Tensor:
    """One update by the gradients of that loss."""
    if total.device.type == "cuda" or total.isfinite():  # else the journal raises, before this gradient is used
        opt.step()
    return total
