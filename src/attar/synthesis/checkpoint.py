"""Everything that a run needs to go on to the same bits, in one file, and the one before."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attar.condensed.store import REQUEST
from attar.engine.run import Run
from attar.files import DamagedFile, hash_json, read_json, read_tensors, write_tensors

CHECKPOINT, PREVIOUS = CHECKPOINTS = ("checkpoint.safetensors", "checkpoint.previous.safetensors")


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


def save_checkpoint(run: Run, boundary: Snapshot) -> None:
    """Write the checkpoint of the run's folder, and keep the one before."""
    if run.folder is not None:
        tensors, meta = boundary
        about = meta | {"request": identify(run, run.folder)}
        write_tensors(run.folder / CHECKPOINT, tensors, about, run.folder / PREVIOUS)


def has_checkpoint(folder: Path) -> bool:
    return any((folder / name).exists() for name in CHECKPOINTS)


def drop_checkpoints(folder: Path) -> None:
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)


def identify(run: Run, folder: Path) -> str:
    """A hash of all that was asked of the run: its randomness, its classes, and what its folder says."""
    request = read_json(folder / REQUEST) if (folder / REQUEST).exists() else None  # none outside of `condense`
    return hash_json([repr((run.rng.path, run.classes)), request])


def read_checkpoint(run: Run, folder: Path) -> Snapshot | None:
    """The newest checkpoint that is whole, if there is one.

    Raises `ValueError` where none is whole, or where it is another run's.
    """
    newest, previous = folder / CHECKPOINT, folder / PREVIOUS
    if not newest.exists():
        return read_own(previous, run) if previous.exists() else None
    try:
        return read_own(newest, run)
    except DamagedFile as error:
        if not previous.exists():
            raise
        older = read_own(previous, run)
        logging.getLogger("attar").warning(f"{error}: the run goes on from the checkpoint before, {previous}")
        newest.unlink()  # or it would take the place of the one before
        return older


def read_own(path: Path, run: Run) -> Snapshot:
    """Raises `DamagedFile`, or `ValueError` where the checkpoint is another run's."""
    tensors, meta = read_tensors(path)
    if not {"done", "episodes", "opt"} <= meta.keys():
        raise ValueError(f"{path} is no checkpoint")
    # Earlier ones do not say whose they are.
    if "request" in meta and meta["request"] != identify(run, path.parent):
        raise ValueError(f"{path} belongs to another run: it was asked for something else, or with another seed")
    return tensors, meta


def restore(run: Run, learned: nn.Module, opt: torch.optim.Optimizer) -> tuple[int, int]:
    """Load the checkpoint of the run's folder, if there is one, and say how many updates and episodes it holds.

    Raises `ValueError` where it is damaged, as the one before is, or another run's.
    """
    found = run.folder and read_checkpoint(run, run.folder)
    if not found:
        return 0, 0
    tensors, meta = found
    entries: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *((f"opt.{k}", v) for k, v in meta["opt"].items())]:
        kind, index, *rest = name.split(".", 2)
        if kind == "opt":
            entries.setdefault(int(index), {})[rest[0]] = value
    try:
        learned.load_state_dict({k.removeprefix("learned."): v for k, v in tensors.items() if k.startswith("learned.")})
    except RuntimeError:
        raise ValueError(
            f"the checkpoint in {run.folder} belongs to another run: its tensors do not fit this one"
        ) from None
    opt.load_state_dict({"state": entries, "param_groups": opt.state_dict()["param_groups"]})
    return meta["done"], meta["episodes"]
