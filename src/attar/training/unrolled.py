"""The gradient of an outer loss through the training of a student: exact, at the memory of one step.

The way forward keeps the parameters before each step, and no graph. The way back takes the last step first. It takes
each step once more, and pulls the derivative in what came out of it back to what went in (the step's adjoint).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.augment.dsa import Augment, Draw, apply
from attar.engine.by_hand import with_gradient
from attar.engine.cuda_graphs import Replay
from attar.engine.device import send
from attar.engine.run import Run
from attar.engine.structures import leaves, map_tensors
from attar.networks.network import Network
from attar.networks.second_order import twice_differentiable
from attar.networks.weights import TRAINING, Labels, Weights
from attar.rng import Rng
from attar.training.flatness import Params
from attar.training.train import SGD, Adam, batches

Through = Literal["exact", "tesla"]
# What a step with a graph and the way back through it cost, in forward passes.
ADJOINT: dict[Through, int] = {"exact": 9, "tesla": 8}
Place = tuple[Params, Any]  # the parameters, and what the optimiser goes on from


class Step(NamedTuple):
    """What a student sees in one step: rows of the set, `None` for all, and how each of its images is augmented."""

    rows: Int[Tensor, " b"] | None
    draw: Draw | None

    def take(self, of: Tensor) -> Tensor:
        """Its rows of images or labels."""
        return of if self.rows is None else of[self.rows]

    def augment(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x if self.draw is None else apply(x[:, None], self.draw)[:, 0]

    def add(self, total: Tensor, part: Tensor) -> None:
        """Adds what belongs to its rows where they lie."""
        total.add_(part) if self.rows is None else total.index_add_(0, self.rows, part)


class Lesson(NamedTuple):
    """What a student learns from: images, their labels, and one step size or one for each step."""

    x: Float[Tensor, "n c h w"]
    y: Labels
    lr: Float[Tensor, "*steps"]

    def rate(self, i: int) -> Float[Tensor, ""]:
        """The step size of the i-th step."""
        return self.lr[i] if self.lr.ndim else self.lr


def draw_steps(
    x: Float[Tensor, "n c h w"], total: int, rng: Rng, batch: int | None = None, augment: Augment | None = None
) -> list[Step]:
    """`total` steps on mini-batches of `x`: those that `train` takes with the same arguments."""
    steps = []
    for rows, own in batches(len(x), batch, total, rng):
        n = len(x) if rows is None else len(rows)
        draw = augment.draw_each(n, x.shape[1:], own).to(x.device) if augment and augment.names else None
        steps.append(Step(None if rows is None else send(rows, x.device), draw))
    return steps


@dataclass(frozen=True, eq=False)
class Student:
    """One step of training and its adjoint, each a function of tensors."""

    network: Network
    optimiser: SGD | Adam
    through: Through

    def step(self, w: Weights, state: Any, x: Float[Tensor, "b c h w"], y: Labels, lr: Float[Tensor, ""]) -> Place:
        return self.optimiser.step(w.params, self.network.gradient(w, x, y), state, lr)

    def pull(
        self, w: Weights, state: Any, x: Float[Tensor, "b c h w"], y: Labels, lr: Float[Tensor, ""], up: Place
    ) -> dict[str, Any]:
        """The derivative in each input, labels only where they are soft, given that in both outputs."""
        given = {"params": w.params, "state": state, "x": x, "lr": lr}
        given = {**given, "y": y} if y.is_floating_point() else given
        # As the gradient of ⟨step, up⟩: compiled in low precision, `torch.func.vjp` mixes its types.
        return torch.func.grad(lambda given: inner(self._step(w, {"y": y, **given}), up))(given)

    def _step(self, w: Weights, given: dict[str, Any]) -> Place:
        at = given["params"] if self.through == "exact" else w.params
        gradient = self.network.gradient(Weights(at, w.buffers), given["x"], given["y"])
        return self.optimiser.step(given["params"], gradient, given["state"], given["lr"])


@dataclass(frozen=True, eq=False)
class Unrolled:
    """An outer loss of what a student becomes, differentiable in what it learns from.

    `"exact"` is the derivative of the whole training. `"tesla"` takes the parameters at which each step's gradient is
    computed for constants (Cui et al., ICML 2023): images then change no later gradient, which grows wrong with the
    number of steps and their size.
    """

    optimiser: SGD | Adam
    step: Callable[..., Place]
    pull: Callable[..., dict[str, Any]]

    @classmethod
    def of(
        cls,
        network: Network,
        shape: tuple[int, ...],
        optimiser: SGD | Adam,
        images: int,
        run: Run,
        through: Through = "exact",
    ) -> "Unrolled":
        """On the run's engine; students see `images` of that `shape` in the whole run, counted again at every step.

        The optimiser's own step size is not used. Raises `ValueError` for a network that has no second derivative.
        """
        student = Student(twice_differentiable(network, shape), optimiser, through)
        forward = images * network.flop(shape)
        step = run.engine(student.step, TRAINING * forward)
        pull = run.engine(student.pull, ADJOINT[through] * forward)
        return cls(optimiser, Replay(step), Replay(pull)) if network.replayable else cls(optimiser, step, pull)

    def __call__(
        self,
        outer: Callable[[Weights], Float[Tensor, ""]],
        w: Weights,
        x: Float[Tensor, "n c h w"],
        y: Labels,
        lr: Float[Tensor, "*steps"],
        steps: Sequence[Step],
        *,
        skip: int = 0,
    ) -> Float[Tensor, ""]:
        """`outer` of the weights to which `steps` lead from `w`, with derivatives in `x`, in `lr`, and in soft `y`.

        `lr` is one step size, or one for each step. What the first `skip` steps learn counts as given: they cost no
        memory, and nothing is differentiated through them. Batch normalisation uses the statistics in `w`. Each call
        computes the derivatives at once, so that what it returns holds no graph but that of its inputs.

        Raises `ValueError` for step sizes or a `skip` that do not fit the steps.
        """
        check(lr, skip, len(steps))
        lesson = Lesson(x.detach(), y.detach(), lr.detach())
        path = [place for i, place in enumerate(self.walk(w, lesson, steps)) if i >= skip]
        value, up = differentiate(outer, Weights(path[-1][0], w.buffers))
        found = self.go_back(path, up, w.buffers, lesson, steps)
        for given, gradient in zip((x, y, lr), found, strict=True):
            value = value + with_gradient(torch.zeros_like(value), given, gradient)
        return value

    def walk(self, w: Weights, lesson: Lesson, steps: Sequence[Step]) -> Iterator[Place]:
        """The place before each step, and the one after the last."""
        params = {name: p.detach() for name, p in w.params.items()}
        state = start = self.optimiser.start(params)
        yield params, state
        for i, step in enumerate(steps):
            x, y = step.augment(step.take(lesson.x)), step.take(lesson.y)
            params, state = self.step(Weights(params, w.buffers), state, x, y, lesson.rate(i))
            # Copies, as the next replay writes where they lie; none of what nobody looks at.
            params = map_tensors(params, torch.clone)
            state = map_tensors(state, torch.clone) if self.optimiser.remembers else start
            yield params, state

    def go_back(
        self, path: list[Place], up: Params, buffers: dict[str, Tensor], lesson: Lesson, steps: Sequence[Step]
    ) -> Lesson:
        """The derivatives in the lesson, given those in the parameters at the end of the path, which is used up."""
        found = Lesson(*(torch.zeros_like(part) for part in lesson))
        above = up, map_tensors(path.pop()[1], torch.zeros_like)
        for i in reversed(range(len(steps) - len(path), len(steps))):
            (params, state), step = path.pop(), steps[i]
            x = step.take(lesson.x).detach().requires_grad_()
            seen = step.augment(x)  # outside of what is compiled, since its gradients are written by hand
            given = seen.detach(), step.take(lesson.y), lesson.rate(i)
            part = self.pull(Weights(params, buffers), state, *given, above)
            above = part["params"], part["state"]
            step.add(found.x, torch.autograd.grad(seen, x, part["x"])[0])
            if "y" in part:
                step.add(found.y, part["y"])
            found.rate(i).add_(part["lr"])
        return found


def inner(place: Place, other: Place) -> Float[Tensor, ""]:
    """The sum of the products of all their numbers."""
    return torch.stack([(a * b).sum() for a, b in zip(leaves(place), leaves(other), strict=True)]).sum()


def check(lr: Tensor, skip: int, steps: int) -> None:
    if lr.shape not in ((), (steps,)):
        told = f"not numbers of the shape {tuple(lr.shape)}"
        raise ValueError(f"lr must be one step size, or one for each of the {steps} steps, {told}")
    if not 0 <= skip <= steps:
        raise ValueError(f"skip must be a number of steps between 0 and {steps}, not {skip}")


def differentiate(outer: Callable[[Weights], Tensor], w: Weights) -> tuple[Float[Tensor, ""], Params]:
    """The value of `outer`, and its derivative in each parameter, 0 in those that it does not look at."""
    params = {name: p.detach().requires_grad_() for name, p in w.params.items()}
    value = outer(Weights(params, w.buffers))
    found = torch.autograd.grad(value, list(params.values()), allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(params, found, strict=True))
