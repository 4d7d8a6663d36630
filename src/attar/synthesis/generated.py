"""What is learned: a generator."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.data.task import Task
from attar.engine.run import Run
from attar.networks.generator import Generator
from attar.networks.weights import Weights, flatten, unflatten
from attar.synthesis.from_codes import FromCodes, draw_codes


class Generated(FromCodes):
    """A generator that goes on from the weights `w`. The images of the artefact are `each` samples a class.

    `looks` images pass it in the whole run, forward and backward.
    """

    def __init__(self, task: Task, each: int, run: Run, family: Generator, w: Weights, *, looks: int):
        codes, classes = draw_codes(task, each, run, family)
        super().__init__(classes, task, family, run, 3 * looks * family.flop)
        self.codes = codes  # the same in every process: no part of what is learned
        # In the order of the module: those that come from a file have their own, and a run may resume with them.
        self.shapes = {name: p.shape for name, p in family.pure.template.named_parameters()}
        self.weights = nn.Parameter(flatten({name: w.params[name] for name in self.shapes}))

    def w(self) -> Weights:
        return Weights(unflatten(self.weights, self.shapes), {})

    def sample(self, z: Float[Tensor, "n d"], y: Int[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        """Images on [0, 1], differentiable in the generator."""
        return self.images(self.w(), z, y)
