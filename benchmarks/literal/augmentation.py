"""Augmentation of one batch as the published loops have it: only what was drawn, affine maps by torch's own sampling."""

import torch.nn.functional as F
from torch import Tensor

from attar.augment import FUNCTIONS, MATRICES, Draw


def augmented(x: Tensor, draw: Draw) -> Tensor:
    """The images by the draw of one group."""
    for step in draw.steps:
        if step.on and step.op in MATRICES:
            theta = F.pad(MATRICES[step.op](step.value).to(x), (0, 1)).expand(len(x), 2, 3)
            x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)
        elif step.on:
            x = FUNCTIONS[step.op](x[None], step.value.to(x.device))[0]
    return x
