"""Attar condenses a training set to a few images per class, and measures what the small set kept."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attar.artefact import CondensedSet, load
    from attar.comparison import compare
    from attar.condensation import condense, plan
    from attar.data import load_data
    from attar.evaluation import evaluate
    from attar.network import Network
    from attar.report import write_report
    from attar.task import Task

# Where each public name lives. Looked up on first use: torch takes seconds to import, and `attar --help` needs none of it.
_HOMES = {
    "CondensedSet": "artefact",
    "Network": "network",
    "Task": "task",
    "compare": "comparison",
    "condense": "condensation",
    "evaluate": "evaluation",
    "load": "artefact",
    "load_data": "data",
    "plan": "condensation",
    "write_report": "report",
}

__all__ = ["CondensedSet", "Network", "Task", "compare", "condense", "evaluate", "load", "load_data", "plan", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'attar' has no attribute {name!r}")
    return getattr(importlib.import_module(f"attar.{_HOMES[name]}"), name)
