"""FTD: flat trajectory distillation (Du et al., CVPR 2023).

Needs experts first, each at twice the cost of one for MTT: they step towards flat places. They are kept.
"""

from dataclasses import dataclass

from attar.methods.trajectory.mtt import MTT
from attar.training.flatness import Flatness


@dataclass(frozen=True, kw_only=True)
class FTD(MTT):
    """MTT with experts whose walk is flat, and a running average of the pixels.

    Experts step by adaptive GSAM with `rho` and `alpha`. Later a network learns from the images alone, and drifts away
    from the experts' path. Where the loss is flat, that costs less.
    """

    average: float = 0.9999
    rho: float = 0.01
    alpha: float = 0.3

    def flatness(self) -> Flatness:
        return Flatness(self.rho, self.alpha)
