"""DSA: dataset condensation with differentiable siamese augmentation (Zhao & Bilen, ICML 2021).

Needs nothing trained; its networks learn along the way. CIFAR-10 on one core: 12 min at one image a class.
"""

from dataclasses import dataclass

from attar.methods.gradient.dc import DC
from attar.synthesis.pixels import Init


@dataclass(frozen=True, kw_only=True)
class DSA(DC):
    """DC on augmented images: those of a class, real and synthetic, share an augmentation in each update.

    Networks learn from augmented images too. The images start as real ones.
    """

    init: Init = "real"
    augment: str = "color_crop_cutout_flip_scale_rotate"
