"""Functions of tensors that a GPU replays, instead of being told one kernel after the other."""

import functools
import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attar.engine.structures import leaves, map_tensors


class Replay:
    """`function`; on a GPU it is recorded as a CUDA graph for each new kind of arguments, and from then on replayed.

    Arguments are tensors and constants, nested in tuples and dicts. Besides them it may read tensors that keep their
    place in memory, and nothing else that changes. It must not wait for the GPU. What it returns lies where its next
    replay writes.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.recordings: dict[tuple[Any, ...], Recording] = {}

    def __call__(self, *arguments: Any) -> Any:
        found = list(leaves(arguments))  # constants tell kinds apart too: they are frozen into a recording
        if not any(isinstance(leaf, Tensor) and leaf.is_cuda for leaf in found):
            return self.function(*arguments)
        kind = tuple((leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in found)
        if kind not in self.recordings:
            self.recordings[kind] = Recording(self.function, arguments)
        return self.recordings[kind]([leaf for leaf in found if isinstance(leaf, Tensor)])


class Recording:
    """One CUDA graph, with the tensors that it reads and writes."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]):
        # A graph reads from and writes to fixed places: it gets tensors of its own, and arguments are copied there.
        own = map_tensors(arguments, own_copy)
        self.places = [leaf for leaf in leaves(own) if isinstance(leaf, Tensor)]
        kinds = [place.dtype for place in self.places]
        # One kernel copies many of a kind.
        self.together = [[i for i, kind in enumerate(kinds) if kind == own] for own in set(kinds)]
        aside, state = stream(torch.cuda.current_device(), 0), torch.cuda.get_rng_state()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # first as it is: compiles, and lets libraries make what they need
            function(*own)
        torch.cuda.current_stream().wait_stream(aside)
        gc.collect()  # earlier recordings must not go in the middle of this one
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = function(*own)
        torch.cuda.set_rng_state(state)  # a replay draws as the first call would

    def __call__(self, inputs: list[Tensor]) -> Any:
        for rows in self.together:
            torch._foreach_copy_([self.places[i] for i in rows], [inputs[i] for i in rows])
        self.graph.replay()
        return self.outputs


@functools.cache
def stream(device: int, i: int) -> torch.cuda.Stream:
    """The i-th besides the usual one. Made once: libraries keep memory for each."""
    return torch.cuda.Stream(device)


def own_copy(x: Tensor) -> Tensor:
    return x.detach().clone()
