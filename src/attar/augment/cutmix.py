"""CutMix (Yun et al., ICCV 2019): a box of each image is replaced by that of another."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attar.engine.device import send
from attar.rng import Rng


class Mix(NamedTuple):
    """Of several batches: each image's partner, the box that is the partner's, and the share that is not."""

    partners: Int[Tensor, "b n"]
    box: Bool[Tensor, "b h w"]
    share: Float[Tensor, " b"]

    @classmethod
    def some(cls, n: int, shape: Sequence[int], probability: float, rngs: Sequence[Rng], device: torch.device) -> "Mix":
        """A batch of `n` images for each of `rngs`, which has a box with this `probability`.

        It is sent to `device`, and the host does not wait for that.
        """
        b, (h, w) = len(rngs), shape[-2:]
        mix = cls(torch.arange(n).repeat(b, 1), torch.zeros(b, h, w, dtype=torch.bool), torch.ones(b))
        for i, rng in enumerate(rngs):
            if torch.rand((), generator=rng.fold("mix").generator()) < probability:
                for whole, (part,) in zip(mix, cls.draw(n, shape, rng.fold("cutmix")), strict=True):
                    whole[i] = part
        return cls(*(send(part, device) for part in mix))

    @classmethod
    def draw(cls, n: int, shape: Sequence[int], rng: Rng) -> "Mix":
        """One batch. The box has √(1 − λ) of each side, λ uniform, its centre uniform, and is clipped."""
        generator, (h, w) = rng.generator(), shape[-2:]
        lam, cy, cx = torch.rand(3, generator=generator).tolist()
        partners = torch.randperm(n, generator=generator)
        top, bottom = edges(h, lam, cy)
        left, right = edges(w, lam, cx)
        box = torch.zeros(1, h, w, dtype=torch.bool)
        box[:, top:bottom, left:right] = True
        return cls(partners[None], box, torch.tensor([1 - (bottom - top) * (right - left) / (h * w)]))

    def loss(
        self, i: int, loss: Callable[[Tensor, Tensor], Tensor], scores: Float[Tensor, "n k"], y: Tensor
    ) -> Float[Tensor, ""]:
        """Of the i-th batch, shared out between each image and its partner."""
        share = self.share[i]
        return share * loss(scores, y) + (1 - share) * loss(scores, y[self.partners[i]])

    def __call__(self, x: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n c h w"]:
        batch = torch.arange(len(x), device=x.device)[:, None]
        return torch.where(self.box[:, None, None], x[batch, self.partners], x)


def edges(side: int, lam: float, centre: float) -> tuple[int, int]:
    half = int(side * math.sqrt(1 - lam)) // 2
    middle = int(centre * side)
    return max(middle - half, 0), min(middle + half, side)
