"""What training makes small, of a mini-batch's scores and labels."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Loss = Literal["cross-entropy", "squares"]


def squares(scores: Float[Tensor, "n k"], y: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """½ ‖score − y‖², the mean over the examples: `y` is what the scores should be."""
    return (scores - y).square().sum(1).mean() / 2


LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {"cross-entropy": F.cross_entropy, "squares": squares}
