"""Families of networks that can be differentiated twice."""

import dataclasses

import torch
from torch import Tensor

from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.wording import in_a_line


def twice_differentiable(network: Network, shape: tuple[int, ...]) -> Network:
    """The same family without what is faster but has no second derivative.

    Raises `ValueError` where its own layers have none, which an image of that `shape` shows.
    """
    smooth = dataclasses.replace(network, twice_differentiable=True)
    w, x = network.init(Rng.of(0)), torch.zeros(1, *shape, device=network.device)
    try:
        torch.func.grad(steepness, 1)(w, x, smooth)
    except RuntimeError as error:
        told = f"{network.name} cannot be differentiated twice, which this method needs"
        raise ValueError(f"{told}: {in_a_line(error)}") from None
    return smooth


def steepness(w: Weights, x: Tensor, network: Network) -> Tensor:
    """The sum of squares of the gradient at such images of class 0."""
    y = torch.zeros(len(x), dtype=torch.long, device=x.device)
    return torch.stack([part.square().sum() for part in network.gradient(w, x, y).values()]).sum()
