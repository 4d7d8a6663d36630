"""The last few values of a quantity (CAFE's schedule)."""

import torch
from torch import Tensor, nn


class Window(nn.Module):
    values: Tensor
    count: Tensor

    def __init__(self, length: int):
        super().__init__()
        self.register_buffer("values", torch.zeros(length, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @property
    def full(self) -> bool:
        return int(self.count) >= len(self.values)

    @property
    def spread(self) -> float:
        """Greatest minus least of the values; 0 where there are none."""
        held = self.values[: int(self.count)]
        return float(held.max() - held.min()) if len(held) else 0.0

    def push(self, value: float) -> None:
        self.values[int(self.count) % len(self.values)] = value
        self.count += 1

    def clear(self) -> None:
        self.count.zero_()
