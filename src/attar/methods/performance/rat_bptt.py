"""RaT-BPTT: back-propagation through a random window of a student's training (Feng et al., ICLR 2024).

Needs nothing trained. Each update trains a student from its start to the end of the window.
"""

from dataclasses import dataclass

from attar.methods.performance.bptt import BPTT


@dataclass(frozen=True, kw_only=True)
class RaTBPTT(BPTT):
    """BPTT through `window` steps alone, which begin anywhere in the first `steps`, and end within them.

    What is learned before the window counts as given; what comes after it is not trained. The window is drawn at each
    update, the authors draw it once an epoch.
    """

    window: int = 60

    def differentiated(self) -> int:
        """Raises `ValueError` for a window that is longer than the training."""
        if self.window > self.steps:
            raise ValueError(f"window must be at most steps={self.steps}, not {self.window}")
        return self.window
