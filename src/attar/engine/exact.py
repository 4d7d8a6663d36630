"""Products that stay exact where those of networks may be rounded."""

import torch
from jaxtyping import Float
from torch import Tensor

from attar.engine.compiling import constant_when_compiled


@constant_when_compiled
def rounds() -> bool:
    """Whether float32 products are rounded to tf32 now."""
    return torch.get_float32_matmul_precision() != "highest"


def products(x: Float[Tensor, "... n d"], y: Float[Tensor, "... m d"]) -> Float[Tensor, "... n m"]:
    """⟨x_i, y_j⟩. Exact also in tf32, since distances are made of products that nearly cancel."""
    if rounds():
        return (x.double() @ y.double().mT).to(x.dtype)
    return x @ y.mT
