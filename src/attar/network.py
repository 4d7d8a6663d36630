"""A network as a pure function of its weights."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from attar import architectures
from attar.from_file import FromFile, in_a_line
from attar.names import unknown
from attar.replay import Recording
from attar.rng import CPU, Rng

Build = Callable[[], nn.Module]


class Weights(NamedTuple):
    """What a network is made of: `params` are trained, `buffers` (running statistics) follow."""

    params: dict[str, Tensor]
    buffers: dict[str, Tensor]


@dataclass(frozen=True)
class Network:
    """A family of networks: `build()` makes one module, `head` names its classifier (default: the last `Linear`).

    The module itself never holds weights here. Templates live on the meta device, one in train and one in eval mode,
    and every call is `torch.func.functional_call` with the weights that are passed in.
    """

    build: Build
    head: str | None = None
    device: torch.device = CPU
    _templates: dict[str | tuple[bool, bool], nn.Module] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        with torch.device("meta"):
            whole = self.build()
        head = self.head or last_linear(whole)
        headless = copy.deepcopy(whole)
        headless.set_submodule(head, nn.Identity())
        object.__setattr__(self, "head", head)
        self._templates["head"] = copy.deepcopy(whole.get_submodule(head)).eval()
        for train in (True, False):
            self._templates[True, train] = copy.deepcopy(whole).train(train)
            self._templates[False, train] = copy.deepcopy(headless).train(train)
        if callable(getattr(type(whole), "layers", None)):
            self._templates["layers"] = Layers(whole).eval()

    def __reduce__(self):
        return Network, (self.build, self.head, self.device)

    @property
    def name(self) -> str:
        """That of its class; of a user's file what was asked for, and which code it was."""
        if isinstance(self.build, FromFile):
            return f"{self.build.name}-{self.build.code[:8]}"
        return type(self._templates[True, False]).__name__

    @property
    def keeps_statistics(self) -> bool:
        return any(True for _ in self._templates[True, True].buffers())

    @property
    def ours(self) -> bool:
        """Whether it is one of Attar's: a GPU can replay its start and its passes, since nothing in them is decided on the host."""
        return isinstance(self.build, partial) and self.build.func in NAMED.values()

    @property
    def key(self) -> str | None:
        """What tells this family from others across processes; `None` where its `build` does not say."""
        if isinstance(self.build, FromFile):
            return f"{self.build.name} {self.build.shape} {self.build.classes} {self.build.code}"
        if isinstance(self.build, partial) and self.ours:
            return f"{self.build.func.__qualname__} {self.build.args} {self.build.keywords}"
        return None

    def to(self, device: torch.device) -> "Network":
        return Network(self.build, self.head, device)

    def init(self, rng: Rng) -> Weights:
        """Fresh weights as the module itself draws them."""
        with rng.scope(self.device):
            if self.device.type == "cpu" or not self.ours or self.keeps_statistics:
                return self._start()
            shapes = {name: p.shape for name, p in self._templates[True, True].named_parameters()}
            return Weights(unflat(self._recorded([]).clone(), shapes), {})

    def _start(self) -> Weights:
        with torch.device(self.device):
            module = self.build()
        return Weights({k: v.detach() for k, v in module.named_parameters()}, dict(module.named_buffers()))

    @functools.cached_property
    def _recorded(self) -> Recording:
        """Fresh weights in one tensor."""
        return Recording(lambda: flat(self._start().params), ())

    def features(self, w: Weights, x: Float[Tensor, "n c h w"], *, train: bool = False) -> Float[Tensor, "n d"]:
        """The input of the classifier. `train` uses batch statistics where a network has them, as unlearned networks must."""
        return self._call(False, w, x, train)[0].flatten(1)

    def seen(self, w: Weights, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"]]:
        """Features and class scores in one pass, in eval mode, where the network `ends_in_head`."""
        entered, _ = self._call(False, w, x, False)
        prefix = f"{self.head}."
        head = {name.removeprefix(prefix): tensor for part in w for name, tensor in part.items() if name.startswith(prefix)}
        return entered.flatten(1), functional_call(self._templates["head"], head, (entered,))

    def ends_in_head(self, shape: tuple[int, ...]) -> bool:
        """Whether its scores are what the classifier, called once and with weights of its own, makes of what enters it."""
        assert self.head is not None
        made: list[tuple[Tensor, int]] = []  # with how often it was written to
        whole = copy.deepcopy(self._templates[True, False])
        head, known = whole.get_submodule(self.head), {name for name, _ in [*whole.named_parameters(), *whole.named_buffers()]}
        head.register_forward_hook(lambda _, given, out: made.append((out, out._version)))
        with torch.device("meta"):
            scores = whole(torch.empty(1, *shape))
        untied = all(f"{self.head}.{name}" in known for name in head.state_dict())
        return untied and len(made) == 1 and made[0][0] is scores and made[0][1] == scores._version

    def width(self, shape: tuple[int, ...]) -> int:
        """The number of features of one image."""
        with torch.device("meta"):
            return self._templates[False, True](torch.empty(1, *shape)).flatten(1).shape[1]

    def scores_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the class scores of one image."""
        with torch.device("meta"):
            return tuple(self._templates[True, False](torch.empty(1, *shape)).shape)

    def layers(self, w: Weights, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """What the module's own `layers(x)` gives, where it has one: the maps of its layers, then the features."""
        inside = {f"module.{name}": tensor for part in w for name, tensor in part.items()}
        return functional_call(self._templates["layers"], inside, (x,))

    def layer_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Of what `layers` gives for one image; empty where the module has no such method. Raises `ValueError` where it fails."""
        if "layers" not in self._templates:
            return []
        try:
            with torch.device("meta"):
                return [tuple(layer.shape[1:]) for layer in self._templates["layers"](torch.empty(1, *shape))]
        except Exception as error:
            raise ValueError(f"the layers that {self.name} shows are none: {in_a_line(error)}") from None

    def logits(self, w: Weights, x: Float[Tensor, "n c h w"], *, train: bool = False) -> tuple[Float[Tensor, "n k"], dict[str, Tensor]]:
        """Class scores, and the buffers as this call leaves them."""
        return self._call(True, w, x, train)

    def scores(self, w: Weights, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Class scores in eval mode."""
        return self.logits(w, x)[0]

    def _call(self, whole: bool, w: Weights, x: Tensor, train: bool) -> tuple[Tensor, dict[str, Tensor]]:
        template = self._templates[whole, train]
        params = {name: w.params[name] for name, _ in template.named_parameters()}
        buffers = {name: w.buffers[name].clone() if train else w.buffers[name] for name, _ in template.named_buffers()}
        return functional_call(template, (params, buffers), (x,)), buffers

    def flop(self, shape: tuple[int, ...]) -> int:
        """Floating-point operations of one forward pass of one image (two a multiply-add; convolutions and linear layers)."""
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with counter, torch.device("meta"):
            self._templates[True, False](torch.empty(1, *shape))
        return counter.get_total_flops()


class Layers(nn.Module):
    """Calls `layers` of the module inside: what a functional call runs is a module's `forward`."""

    module: Any

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.module.layers(x)


def flat(params: dict[str, Tensor]) -> Float[Tensor, " p"]:
    """All of them in one tensor."""
    return torch.cat([p.flatten() for p in params.values()])


def unflat(row: Float[Tensor, " p"], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """The parameters as views of such a tensor."""
    parts = row.split([shape.numel() for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def last_linear(module: nn.Module) -> str:
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear) and name]
    if not names:
        raise ValueError(f"{type(module).__name__} has no Linear layer: name its classifier with Network(build, head=...)")
    return names[-1]


NAMED = {"convnet": architectures.ConvNet, "mlp": architectures.MLP}


def network(name: str, shape: tuple[int, int, int], classes: int) -> Network:
    """A known architecture by name, or `file.py:Name` for one's own, called as `Name(shape, classes)`.

    Raises `ValueError` where the name is unknown, the file does not hold it, or it gives no score for each class of such images.
    """
    if ".py:" in name:
        file, _, within = name.rpartition(":")
        return scoring(Network(FromFile.at(Path(file).resolve(), within, shape, classes)), within, shape, classes)
    if name not in NAMED:
        raise ValueError(unknown("network", name, [*NAMED, "file.py:Name"]))
    return Network(partial(NAMED[name], shape, classes))


def scoring(family: Network, name: str, shape: tuple[int, int, int], classes: int) -> Network:
    """The family itself, once it has shown what it makes of an image."""
    try:
        scores = family.scores_shape(shape)
    except Exception as error:
        raise ValueError(f"{name} does not take images of shape {shape}: {in_a_line(error)}") from None
    if scores != (1, classes):
        raise ValueError(f"{name} makes of an image scores of shape {scores}, not {(1, classes)}, one for each class")
    return family
