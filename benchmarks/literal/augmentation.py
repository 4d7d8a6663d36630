"""Augmentation of one batch as published loops have it: only what was drawn, affine maps by torch's own sampling."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attar.augment.dsa import Draw
from attar.augment.operations import FUNCTIONS, MATRICES


def augmented(x: Tensor, draw: Draw) -> Tensor:
    """The images by the draw of one group, or each by its own."""
    for step in draw.steps:
        if step.on.any():
            value, each = step.value.to(x.device), len(step.on) > 1
            if step.op in MATRICES:
                theta = F.pad(MATRICES[step.op](value).to(x.dtype), (0, 1)).expand(len(x), 2, 3)
                moved = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)
            else:
                moved = FUNCTIONS[step.op](x[:, None] if each else x[None], value).flatten(0, 1)
            x = moved if step.on.all() else torch.where(step.on.to(x.device)[:, None, None, None], moved, x)
    return x
