"""A network as a pure function of its weights."""

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from attar.engine.cuda_graphs import Recording
from attar.engine.fast_layers import quicken, unify
from attar.networks.weights import Labels, Weights, flatten, unflatten
from attar.rng import CPU, Rng
from attar.wording import in_a_line

Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class Network:
    """A family of networks: `build()` makes one module, `head` names its classifier (default: the last `Linear`).

    The module itself never holds weights here. Templates live on the meta device, one in train and one in eval mode.
    Every call is `torch.func.functional_call` with the weights that are passed in, so that any of these functions may
    be compiled, and differentiated in the weights or in the images.

    `twice_differentiable` leaves out what is faster but has no second derivative. It is no part of a network's
    identity: weights, `key` and `name` are the same with it and without.
    """

    build: Build
    head: str | None = None
    device: torch.device = CPU
    twice_differentiable: bool = field(default=False, compare=False)
    _templates: dict[str | tuple[bool, bool], nn.Module] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        with torch.device("meta"):  # templates hold no numbers: a call brings its own
            whole = self.build()
            smooth = copy.deepcopy(whole)
            if is_replayable(whole):
                whole = quicken(whole, kernel=not self.twice_differentiable)
                smooth = quicken(smooth, kernel=False)
        self._templates["smooth"] = with_statistics_kept(unify(smooth).train())
        self._templates["statistics"] = with_statistics_taken(copy.deepcopy(whole).eval())
        head = self.head or last_linear(whole)
        headless = copy.deepcopy(whole)
        headless.set_submodule(head, nn.Identity())
        object.__setattr__(self, "head", head)
        self._templates["head"] = copy.deepcopy(whole.get_submodule(head)).eval()
        for train in (True, False):  # one for each mode, so that nobody toggles a module that others use
            self._templates[True, train] = copy.deepcopy(whole).train(train)
            self._templates[False, train] = copy.deepcopy(headless).train(train)
        if callable(getattr(type(whole), "layers", None)):
            self._templates["layers"] = Layers(whole).eval()

    def __reduce__(self) -> tuple[Callable[..., "Network"], tuple[Any, ...]]:
        return Network, (self.build, self.head, self.device, self.twice_differentiable)

    @property
    def name(self) -> str:
        """That of its class, or what its `build` calls it."""
        return getattr(self.build, "label", None) or type(self._templates[True, False]).__name__

    @property
    def key(self) -> str | None:
        """What tells this family from others across processes; `None` where its `build` does not say.

        A network without one could be another under the same name: no cache keeps it.
        """
        return getattr(self.build, "key", None)

    @property
    def parameters(self) -> int:
        """How many numbers its training changes."""
        return sum(p.numel() for p in self._templates[True, True].parameters())

    @property
    def keeps_statistics(self) -> bool:
        """Whether it has layers of batch normalisation, which keep running statistics."""
        return any(True for _ in find_normalising(self._templates[True, True]))

    @property
    def replayable(self) -> bool:
        """Whether its architecture says of itself that nothing in its start and its passes is decided on the host.

        A GPU can replay such a network, and its layers can be replaced by faster ones. A subclass says it anew, since
        it may drop maps at random.
        """
        return is_replayable(self._templates[True, True])

    def to(self, device: torch.device) -> "Network":
        """The same family, whose fresh weights are made on `device`."""
        return Network(self.build, self.head, device, self.twice_differentiable)

    def init(self, rng: Rng) -> Weights:
        """Fresh weights as the module itself draws them."""
        with rng.scope(self.device):  # modules draw from torch's global generators
            buffers = any(True for _ in self._templates[True, True].buffers())
            if self.device.type == "cpu" or not self.replayable or buffers:
                return self._start()
            shapes = {name: p.shape for name, p in self._templates[True, True].named_parameters()}
            return Weights(unflatten(self._recorded([]).clone(), shapes), {})

    def _start(self) -> Weights:
        with torch.device(self.device):
            module = self.build()
        return Weights({k: v.detach() for k, v in module.named_parameters()}, dict(module.named_buffers()))

    @functools.cached_property
    def _recorded(self) -> Recording:
        """Fresh weights in one tensor."""
        return Recording(lambda: flatten(self._start().params), ())

    def features(self, w: Weights, x: Float[Tensor, "n ..."], *, train: bool = False) -> Float[Tensor, "n d"]:
        """The input of the classifier.

        `train` uses batch statistics where a network has them, as unlearned networks must.
        """
        return self._call(False, w, x, train)[0].flatten(1)

    def logits(
        self, w: Weights, x: Float[Tensor, "n ..."], *, train: bool = False
    ) -> tuple[Float[Tensor, "n k"], dict[str, Tensor]]:
        """Class scores, and the buffers as this call leaves them."""
        return self._call(True, w, x, train)

    def scores(self, w: Weights, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Class scores in eval mode."""
        return self.logits(w, x)[0]

    def train_logits(self, w: Weights, x: Float[Tensor, "n ..."]) -> tuple[Float[Tensor, "n k"], dict[str, Tensor]]:
        """`logits` in train mode; what `train` runs on a run's engine."""
        return self.logits(w, x, train=True)

    def gradient(self, w: Weights, x: Float[Tensor, "n ..."], y: Labels) -> dict[str, Tensor]:
        """The gradient in each parameter of the mean cross-entropy of `x`; `y` may be soft.

        It is that of train mode, but batch normalisation uses the statistics in `w`, as in eval mode. It may be
        differentiated again, in `x`, `y` or `w`, by `torch.func.grad` or `torch.autograd`, and compiled together with
        what differentiates it by `torch.func.grad`. Buffers stay as they are.
        """
        # A method: run-time checks of types wrap functions inside of functions, where no compiler can follow.
        return torch.func.grad(self._loss)(w.params, w.buffers, x, y)

    @torch.no_grad()
    def statistics(self, w: Weights, x: Float[Tensor, "n ..."]) -> dict[str, Tensor]:
        """The buffers of `w`, with the statistics that batch normalisation has on these images."""
        buffers = {name: buffer.clone() for name, buffer in w.buffers.items()}
        functional_call(self._templates["statistics"], (w.params, buffers), (x,))
        return buffers

    def features_and_scores(
        self, w: Weights, x: Float[Tensor, "n ..."]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"]]:
        """Both in one pass, in eval mode, where the network `ends_in_head`."""
        entered, _ = self._call(False, w, x, False)
        prefix = f"{self.head}."
        head = {
            name.removeprefix(prefix): tensor for part in w for name, tensor in part.items() if name.startswith(prefix)
        }
        return entered.flatten(1), functional_call(self._templates["head"], head, (entered,))

    def features_then_scores(
        self, w: Weights, x: Float[Tensor, "n ..."]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"]]:
        """Both in two passes, in eval mode."""
        return self.features(w, x), self.scores(w, x)

    def features_and_scores_of(self, shape: tuple[int, ...]) -> Callable[..., tuple[Tensor, Tensor]]:
        """What gives features and scores of such images: in one pass, or in two where one would be wrong."""
        return self.features_and_scores if self.ends_in_head(shape) else self.features_then_scores

    def ends_in_head(self, shape: tuple[int, ...]) -> bool:
        """Whether its scores are what the classifier makes of what enters it.

        The classifier must be called once, and have weights of its own.
        """
        assert self.head is not None
        made: list[tuple[Tensor, int]] = []  # with how often it was written to
        whole = copy.deepcopy(self._templates[True, False])
        head, known = (
            whole.get_submodule(self.head),
            {name for name, _ in [*whole.named_parameters(), *whole.named_buffers()]},
        )
        head.register_forward_hook(lambda _, given, out: made.append((out, out._version)))
        with torch.device("meta"):
            scores = whole(torch.empty(1, *shape))
        untied = all(f"{self.head}.{name}" in known for name in head.state_dict())
        return untied and len(made) == 1 and made[0][0] is scores and made[0][1] == scores._version

    def layers(self, w: Weights, x: Float[Tensor, "n ..."]) -> list[Tensor]:
        """What the module's own `layers(x)` gives, where it has one: the maps of its layers, then the features."""
        inside = {f"module.{name}": tensor for part in w for name, tensor in part.items()}
        return functional_call(self._templates["layers"], inside, (x,))

    def width(self, shape: tuple[int, ...]) -> int:
        """The number of features of one image."""
        with torch.device("meta"):
            return self._templates[False, True](torch.empty(1, *shape)).flatten(1).shape[1]

    def scores_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the class scores of one image."""
        with torch.device("meta"):
            return tuple(self._templates[True, False](torch.empty(1, *shape)).shape)

    def layer_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Of what `layers` gives for one image; empty where the module has no such method.

        Raises `ValueError` where it fails.
        """
        if "layers" not in self._templates:
            return []
        try:
            with torch.device("meta"):
                return [tuple(layer.shape[1:]) for layer in self._templates["layers"](torch.empty(1, *shape))]
        except Exception as error:
            raise ValueError(f"layers(x) of {self.name} gives no layers: {in_a_line(error)}") from None

    def flop(self, shape: tuple[int, ...]) -> int:
        """Floating-point operations of one forward pass of one image.

        A multiply-add is two. Convolutions and linear layers are counted.
        """
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with counter, torch.device("meta"):
            self._templates[True, False](torch.empty(1, *shape))
        return counter.get_total_flops()

    def _loss(self, params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Labels) -> Float[Tensor, ""]:
        """What `gradient` differentiates. Buffers are copied here, since a transform writes to none from outside."""
        buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        return F.cross_entropy(functional_call(self._templates["smooth"], (params, buffers), (x,)), y)

    def _call(self, whole: bool, w: Weights, x: Tensor, train: bool) -> tuple[Tensor, dict[str, Tensor]]:
        template = self._templates[whole, train]
        params = {name: w.params[name] for name, _ in template.named_parameters()}
        # In train mode batch normalisation writes to its buffers, which belong to the caller.
        buffers = {name: w.buffers[name].clone() if train else w.buffers[name] for name, _ in template.named_buffers()}
        return functional_call(template, (params, buffers), (x,)), buffers


def find_normalising(module: nn.Module) -> Iterator[Any]:
    """Layers that keep running statistics, under the name that torch gives them."""
    return (layer for layer in module.modules() if isinstance(getattr(layer, "running_mean", None), Tensor))


def with_statistics_kept(module: nn.Module) -> nn.Module:
    """The module, whose batch normalisation uses the statistics it has."""
    for layer in find_normalising(module):
        layer.eval()
    return module


def with_statistics_taken(module: nn.Module) -> nn.Module:
    """The module, whose batch normalisation takes the statistics of each batch, and keeps them alone."""
    for layer in find_normalising(module):
        layer.train().momentum = 1.0
    return module


def is_replayable(module: nn.Module) -> bool:
    return vars(type(module)).get("replayable", False)


class Layers(nn.Module):
    """Calls `layers` of the module inside: what a functional call runs is a module's `forward`."""

    module: Any

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.module.layers(x)


def last_linear(module: nn.Module) -> str:
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear) and name]
    if not names:
        raise ValueError(
            f"{type(module).__name__} has no Linear layer: name its classifier with Network(build, head=...)"
        )
    return names[-1]
