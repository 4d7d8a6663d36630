"""Attar condenses a training set to a few images per class, and measures what the small set kept."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attar.augment.dsa import Augment
    from attar.condensed.condensed_set import CondensedSet
    from attar.condensed.store import load, save
    from attar.data.load import load_data
    from attar.data.normalisation import Normalisation
    from attar.data.task import Examples, Task
    from attar.engine.by_hand import with_gradient
    from attar.engine.run import Run
    from attar.evaluation.evaluate import evaluate
    from attar.networks.architectures import MLP, ConvNet
    from attar.networks.network import Network
    from attar.networks.weights import Weights
    from attar.report.page import write_report
    from attar.rng import Rng
    from attar.runs.audit import audit
    from attar.runs.compare import compare
    from attar.runs.condense import condense, plan
    from attar.synthesis.loop import optimise
    from attar.synthesis.pixels import Pixels
    from attar.training.protocol import Protocol
    from attar.training.train import SGD, train

# Where each public name lives. It is looked up on first use: torch takes seconds to import, and `attar --help` needs
# none of it.
_HOMES = {
    "MLP": "networks.architectures",
    "SGD": "training.train",
    "Augment": "augment.dsa",
    "CondensedSet": "condensed.condensed_set",
    "ConvNet": "networks.architectures",
    "Examples": "data.task",
    "Network": "networks.network",
    "Normalisation": "data.normalisation",
    "Pixels": "synthesis.pixels",
    "Protocol": "training.protocol",
    "Rng": "rng",
    "Run": "engine.run",
    "Task": "data.task",
    "Weights": "networks.weights",
    "audit": "runs.audit",
    "compare": "runs.compare",
    "condense": "runs.condense",
    "evaluate": "evaluation.evaluate",
    "load": "condensed.store",
    "load_data": "data.load",
    "optimise": "synthesis.loop",
    "plan": "runs.condense",
    "save": "condensed.store",
    "train": "training.train",
    "with_gradient": "engine.by_hand",
    "write_report": "report.page",
}

__all__ = [
    "MLP",
    "SGD",
    "Augment",
    "CondensedSet",
    "ConvNet",
    "Examples",
    "Network",
    "Normalisation",
    "Pixels",
    "Protocol",
    "Rng",
    "Run",
    "Task",
    "Weights",
    "audit",
    "compare",
    "condense",
    "evaluate",
    "load",
    "load_data",
    "optimise",
    "plan",
    "save",
    "train",
    "with_gradient",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'attar' has no attribute {name!r}")
    return getattr(importlib.import_module(f"attar.{_HOMES[name]}"), name)
