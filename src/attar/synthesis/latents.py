"""What is learned: codes of a generator, which stays as it is."""

from torch import nn

from attar.data.task import Task
from attar.engine.run import Run
from attar.networks.generator import Generator
from attar.networks.weights import Weights
from attar.synthesis.from_codes import FromCodes, draw_codes


class Latents(FromCodes):
    """A codebook of `ipc` codes a class; every image costs about `looks` passes of the generator in the whole run."""

    def __init__(self, task: Task, ipc: int, run: Run, family: Generator, w: Weights, *, looks: int):
        codes, classes = draw_codes(task, ipc, run, family)
        super().__init__(classes, task, family, run, looks * len(classes) * ipc * family.flop)
        self.codes, self.given = nn.Parameter(codes), w

    def w(self) -> Weights:
        return self.given
