"""Everything that a run needs to go on to the same bits, in one file."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attar.files import read_tensors, write_tensors

CHECKPOINT = "checkpoint.safetensors"


def check_finite(learned: nn.Module, done: int) -> None:
    for name, tensor in learned.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(
                f"{name} became non-finite by update {done}: lower the step size (lr), or look at the data"
            )


Snapshot = tuple[dict[str, Tensor], dict[str, Any]]


def take_snapshot(learned: nn.Module, opt: torch.optim.Optimizer, done: int, episodes: int) -> Snapshot:
    """A copy of everything a run needs to go on: tensors, and the rest as JSON."""
    tensors, numbers = list_state(learned, opt)
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    return copies, {"done": done, "episodes": episodes, "opt": numbers}


def list_state(learned: nn.Module, opt: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors themselves, and the numbers of the optimiser, by name."""
    tensors = {f"learned.{name}": tensor for name, tensor in learned.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, entry in opt.state_dict()["state"].items():
        for name, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"opt.{index}.{name}"] = value
            else:
                numbers[f"{index}.{name}"] = value
    return tensors, numbers


def count_bytes(learned: nn.Module, opt: torch.optim.Optimizer) -> int:
    """What a checkpoint of them takes."""
    tensors, _ = list_state(learned, opt)
    return sum(tensor.nbytes for tensor in tensors.values())


def save_checkpoint(folder: Path | None, boundary: Snapshot) -> None:
    if folder is not None:
        write_tensors(folder / CHECKPOINT, *boundary)


def restore(folder: Path | None, learned: nn.Module, opt: torch.optim.Optimizer) -> tuple[int, int]:
    """Load the folder's checkpoint, if there is one, and say how many updates and episodes it holds.

    Raises `ValueError` where it is damaged, or another run's.
    """
    if folder is None or not (folder / CHECKPOINT).exists():
        return 0, 0
    tensors, meta = read_tensors(folder / CHECKPOINT)
    if not {"done", "episodes", "opt"} <= meta.keys():
        raise ValueError(f"{folder / CHECKPOINT} is no checkpoint")
    entries: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *((f"opt.{k}", v) for k, v in meta["opt"].items())]:
        kind, index, *rest = name.split(".", 2)
        if kind == "opt":
            entries.setdefault(int(index), {})[rest[0]] = value
    try:
        learned.load_state_dict({k.removeprefix("learned."): v for k, v in tensors.items() if k.startswith("learned.")})
    except RuntimeError:
        raise ValueError(f"{folder / CHECKPOINT} belongs to another run: its tensors do not fit this one") from None
    opt.load_state_dict({"state": entries, "param_groups": opt.state_dict()["param_groups"]})
    return meta["done"], meta["episodes"]
