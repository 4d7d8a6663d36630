"""Networks that outlive an episode, trained a little at a time."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attar.engine.structures import leaves, map_tensors
from attar.networks.network import Network
from attar.networks.weights import Weights, flatten, unflatten
from attar.rng import Rng
from attar.training.train import SGD, Adam, TrainState

PLAIN = SGD()


class Pool(nn.Module):
    """A ring of networks: the newest takes the oldest's place once `capacity` are there.

    Each is a row of `weights`, with what the optimiser of its own training goes on from, in `velocity`, and its tally
    (`TrainState`). Statistics of batch normalisation are not kept: who looks with a network takes them of real images
    first.
    """

    weights: Tensor
    velocity: Tensor
    tally: Tensor
    pushed: Tensor
    renewed: Tensor

    def __init__(self, network: Network, capacity: int, optimiser: SGD | Adam = PLAIN):
        super().__init__()
        some = network.init(Rng.of(0))
        self.shapes, self.fresh = {name: p.shape for name, p in some.params.items()}, some.buffers
        # Rows of one tensor, so that a checkpoint holds a pool of any size as a few tensors.
        self.start = optimiser.start(some.params)
        for name, parts in (("weights", some.params), ("velocity", self.start)):
            size = sum(part.numel() for part in leaves(parts))
            self.register_buffer(name, torch.zeros(capacity, size, device=network.device))
        self.register_buffer("tally", torch.zeros(capacity, 2, dtype=torch.long, device=network.device))
        for name in ("pushed", "renewed"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return min(int(self.pushed), len(self.weights))

    def push(self, w: Weights) -> None:
        """Another network, whose training begins anew."""
        self.renew(int(self.pushed) % len(self.weights), w)
        self.pushed += 1

    def renew(self, i: int, w: Weights) -> None:
        """Another network in the i-th's place, whose training begins anew."""
        self.weights[i] = self._row(w.params)
        self.velocity[i] = self.tally[i] = 0

    def due(self, interval: int) -> bool:
        """Whether another network is: at the first call, and at every `interval`-th after it."""
        self.renewed += 1
        return (int(self.renewed) - 1) % interval == 0

    def at(self, i: int) -> tuple[Weights, TrainState]:
        """The i-th, as views of its row."""
        parts = iter(self.velocity[i].split([part.numel() for part in leaves(self.start)]))
        velocity = map_tensors(self.start, lambda part: next(parts).view(part.shape).to(part.dtype))
        return Weights(unflatten(self.weights[i], self.shapes), self.fresh), TrainState(velocity, self.tally[i])

    def put(self, i: int, w: Weights, state: TrainState) -> None:
        """The i-th, trained further."""
        self.weights[i] = self._row(w.params)
        self.velocity[i] = torch.cat([part.flatten().to(self.velocity) for part in leaves(state.velocity)])
        self.tally[i] = state.tally

    def accuracy(self, i: int) -> Float[Tensor, ""]:
        """Per cent of the training images that the i-th has seen, as it was when it saw them."""
        return self.at(i)[1].accuracy

    def _row(self, params: dict[str, Tensor]) -> Float[Tensor, " p"]:
        """In the order of the rows: a file has its own."""
        return flatten({name: params[name] for name in self.shapes})
