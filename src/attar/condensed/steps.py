"""Steps of training that were learned with a set: in order, each on images of its own (Wang et al., 2018)."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.condensed.validate import LONGEST_STEP, check_dense, check_floats, describe_type, find_largest, quote


class Steps(NamedTuple):
    """Who trains on the set as it was learned makes these steps of plain SGD alone, one round of them after another."""

    owner: Int[Tensor, " n"]
    """Of each stored image the step that shows it, from 0. Each step shows as many."""
    sizes: Float[Tensor, "rounds steps"]

    @property
    def rows(self) -> Int[Tensor, "steps each"]:
        """The stored images that each step shows."""
        return self.owner.argsort(stable=True).view(self.sizes.shape[1], -1)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What a file keeps of them."""
        return {"step": self.owner, "step_sizes": self.sizes}

    @property
    def bytes(self) -> int:
        """Of all of it, uncompressed."""
        return self.owner.nbytes + self.sizes.nbytes


def read_steps(tensors: dict[str, Any]) -> Steps | None:
    """Those in a file's tensors, `None` where it has none. Raises `ValueError` where a part is missing."""
    found = [tensors[name] for name in ("step", "step_sizes") if name in tensors]
    if len(found) == 1:
        raise ValueError("learned steps have the tensors step and step_sizes, and one of them is not there")
    return Steps(*found) if found else None


def check_steps(steps: Any, count: int, factor: int) -> None:
    """A step for each of `count` images, which hold no tiles; sizes of at least 0, a row a round."""
    if not isinstance(steps, Steps):
        raise ValueError(f"the steps are {quote(steps)}; expected the step of each image, and the steps' sizes")
    if factor > 1:
        raise ValueError(f"the factor is {factor}; expected 1, as images that are shown in steps hold no tiles")
    owner, sizes = steps
    check_floats(sizes, "step sizes")
    if sizes.ndim != 2 or not sizes.numel():
        raise ValueError(f"the step sizes have the shape {tuple(sizes.shape)}; expected (rounds, steps), none 0")
    if find_largest(sizes, "step sizes") > LONGEST_STEP or sizes.min() < 0:
        raise ValueError(f"the step sizes go from {sizes.min():g} to {sizes.max():g}; expected 0 to {LONGEST_STEP:g}")
    if not isinstance(owner, Tensor) or owner.dtype != torch.int64:
        raise ValueError(f"the steps of images are {describe_type(owner)}; expected a tensor of int64")
    check_dense(owner, "steps of images")
    expected = torch.arange(sizes.shape[1]).repeat_interleave(count // sizes.shape[1])
    if owner.shape != (count,) or not torch.equal(owner.sort().values.cpu(), expected):
        told = f"each of the {sizes.shape[1]} steps has as many of the {count} images"
        raise ValueError(f"the steps of images are {quote(owner.tolist())}; expected that {told}")
