"""KIP: kernel inducing points (Nguyen, Chen & Lee, ICLR 2021).

Needs no network: it looks with the kernel of an infinitely wide one.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import unit
from attar.data.task import Task
from attar.distances.ridge import RIDGE, centred, predict
from attar.distances.tangent_kernel import tangent_kernel
from attar.engine.run import Run
from attar.methods._seen import see
from attar.synthesis.loop import optimise
from attar.synthesis.pixels import Init, Pixels
from attar.training.losses import squares

SLICE = 1000  # real images that are predicted at once


@dataclass(frozen=True, kw_only=True)
class KIP:
    """Kernel regression on the images predicts the labels of real ones.

    The kernel is the neural tangent kernel of a fully connected network with `depth` hidden layers. `batch_real` real
    images of each class are drawn at each update. Labels are one-hot less 1/k; `labels` says whether they stay that
    (`"fixed"`), are learned with the images, or are solved for at the end, by all training images. All of it is in
    float64. With `zca` images are whitened.
    """

    updates: int = 300
    lr: float = 0.04
    depth: int = 1
    ridge: float = RIDGE
    batch_real: int = 500
    labels: Literal["fixed", "learned", "solved"] = "fixed"
    init: Init = "real"
    zca: bool = False
    separable: ClassVar[bool] = False  # the regression is on the images of all classes

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        task, k = see(task, self.zca), len(task.classes)
        syn, batch = Pixels.start(task, ipc, run, init=self.init), min(self.batch_real, int(task.counts.max()))
        targets = nn.Parameter(centred(syn()[1], k), requires_grad=self.labels == "learned")
        products = (k * batch + len(targets)) * len(targets) * task.train.x[0].numel()
        loss = run.engine(self.loss, 3 * 2 * products * self.updates)
        y_t = centred(torch.arange(k, device=task.device).repeat_interleave(batch), k)

        def episode(syn, rng):
            x_t = task.sample(range(k), batch, rng.fold("real")).flatten(0, 1)
            yield [loss(x_t, y_t, syn()[0], targets)]

        opt = torch.optim.Adam([syn.images, targets], lr=self.lr)
        optimise(episode, syn, opt, updates=self.updates, run=run, state=nn.ParameterList([targets]))
        learned = self.solve(task, syn()[0]) if self.labels == "solved" else targets
        return dataclasses.replace(syn.export(), targets=None if self.labels == "fixed" else learned.detach().cpu())

    def loss(
        self,
        x_t: Float[Tensor, "m c h w"],
        y_t: Float[Tensor, "m k"],
        x_s: Float[Tensor, "n c h w"],
        y_s: Float[Tensor, "n k"],
    ) -> Float[Tensor, ""]:
        """½ ‖y_t − K_ts (K_ss + ridge tr(K_ss)/n I)⁻¹ y_s‖², the mean over real images."""
        return squares(predict(self.kernel(x_t, x_s), self.kernel(x_s, x_s), y_s, self.ridge), y_t)

    def kernel(self, x: Float[Tensor, "n c h w"], y: Float[Tensor, "m c h w"]) -> Float[Tensor, "n m"]:
        return tangent_kernel(x.flatten(1).double(), y.flatten(1).double(), self.depth)

    @torch.no_grad()
    def solve(self, task: Task, x_s: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The labels with which these images predict those of all training images best, by least squares."""
        k_ss, one = self.kernel(x_s, x_s), torch.eye(len(x_s), device=x_s.device)
        gram, right = torch.zeros_like(k_ss), k_ss.new_zeros(len(x_s), len(task.classes))
        for rows in torch.arange(len(task.train.y), device=task.device).split(SLICE):
            # The prediction is linear in the labels: this is its matrix.
            matrix = predict(self.kernel(task.images(rows), x_s), k_ss, one, self.ridge)
            gram += matrix.mT @ matrix
            right += matrix.mT @ centred(task.train.y[rows], len(task.classes)).double()
        return torch.linalg.solve(gram, right).to(x_s.dtype)

    @torch.no_grad()
    def accuracy(self, made: CondensedSet, task: Task) -> float:
        """Per cent of the test images that kernel regression on a set classifies correctly, with learned labels if any.

        Any set will do, also one of real images.
        """
        x_s, y_s = (part.to(task.device) for part in made.as_dataset(targets=True).tensors)
        k_ss, hits = self.kernel(x_s, x_s), 0
        for x, y in zip(task.test.x.split(SLICE), task.test.y.split(SLICE), strict=True):
            x_t = made.normalisation.to_network(unit(x))
            hits += int((predict(self.kernel(x_t, x_s), k_ss, y_s, self.ridge).argmax(1) == y).sum())
        return 100 * hits / len(task.test.y)
