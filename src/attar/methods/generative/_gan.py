"""Hyper-parameters of the generator that generative methods begin with."""

from dataclasses import dataclass

from attar.data.task import Task
from attar.engine.run import Run
from attar.training.gan import Gan
from attar.training.stages import Stage


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Attar's generator is trained for `epochs` epochs at a step of `lr_gan`, in batches of `batch_gan` images.

    `critic` is how many steps its critic makes for one of its own.
    """

    epochs: int = 150
    lr_gan: float = 1e-4
    batch_gan: int = 128
    critic: int = 1

    def plan_gan(self) -> Gan:
        """How it is trained."""
        return Gan(self.epochs, self.lr_gan, self.batch_gan, self.critic)

    def stages(self, task: Task, run: Run) -> list[Stage]:
        """What is trained first, for a plan."""
        return [self.plan_gan().stage(task, run)]
