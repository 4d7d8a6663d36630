"""MTT's student as one graph of all its steps."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from attar.augment.dsa import Augment
from attar.data.task import Task
from attar.networks.weights import Weights
from attar.rng import Rng
from literal.augmentation import augmented


def follow(
    task: Task,
    x: Tensor,
    y: Tensor,
    lr: Tensor,
    start: Weights,
    target: Weights,
    steps: int,
    augment: Augment,
    rng: Rng,
) -> tuple[Tensor, ...]:
    """How far from the target the student ends, and the derivatives of that in its images and its step size."""
    with rng.scope():
        module = task.network.build().to(x.device)
    params = {name: p.detach().requires_grad_() for name, p in start.params.items()}
    for i in range(steps):
        own = rng.fold("epoch", i) if i else rng
        draw = augment.draw(len(x), task.shape, own.fold(0), same_op=True)
        loss = F.cross_entropy(functional_call(module, params, augmented(x, draw)), y)
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        params = {name: p - lr * g for (name, p), g in zip(params.items(), gradients, strict=True)}
    missed, whole = (
        sum((p - target.params[name]).square().sum() for name, p in at.items()) for at in (params, start.params)
    )
    miss = missed / whole
    return miss.detach(), *torch.autograd.grad(miss, (x, lr))
