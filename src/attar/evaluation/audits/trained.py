"""Networks trained on what is audited: once for all audits, and kept as safetensors."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from attar.data.whitening import AnyNormalisation
from attar.engine.device import use_device
from attar.engine.piece import Piece, Tick
from attar.engine.precision import use_precision
from attar.engine.run import Run
from attar.engine.staging import Part
from attar.evaluation.audits.frame import VERSION, Bench, Subject, digest
from attar.files import DamagedFile, read_tensors, write_tensors
from attar.networks.network import Network
from attar.networks.weights import TRAINING, Weights
from attar.rng import Rng
from attar.training.fit import fit
from attar.training.hardening import PLAIN, Hardening
from attar.training.protocol import Protocol


@dataclass(frozen=True)
class Training:
    """All that the weights of a network depend on, beside its seed."""

    train: Part
    network: Network
    protocol: Protocol
    flip: bool
    normalisation: AnyNormalisation
    hardening: Hardening
    run: Run

    @property
    def recipe(self) -> str:
        engine = self.run.precision, self.run.device.type, torch.__version__
        facts = self.network.key, self.protocol, self.flip, self.normalisation.identity, self.hardening
        return repr((VERSION, facts, engine, self.train.hash))


class Trained(NamedTuple):
    """A network of the family, whose weights lie in a file, and what its images are normalised by."""

    path: Path
    network: Network
    normalisation: AnyNormalisation
    seed: int


def list_trained(subject: Subject, bench: Bench, hardening: Hardening = PLAIN) -> list[Trained]:
    """The networks of a subject, as `train_pieces` trains them."""
    training = plan_training(subject, bench, hardening)
    about = training.network, training.normalisation
    return [Trained(find_path(subject, bench, training, seed), *about, seed) for seed in bench.seeds_of(subject)]


def train_pieces(subject: Subject, bench: Bench, hardening: Hardening = PLAIN) -> list[Piece]:
    """A piece of work for each network, which trains it and keeps its weights."""
    training = plan_training(subject, bench, hardening)
    n = len(subject.made.decoded_labels())
    forward = training.protocol.length(n) * n * training.network.flop(bench.task.shape)
    cost = TRAINING * (1 + hardening.steps) * forward
    name = f"{training.network.name} on {subject.name}, {len(subject.made.labels)} images{hardening.remark}"
    pieces = []
    for seed in bench.seeds_of(subject):
        path = find_path(subject, bench, training, seed)
        work, find = partial(train_network, training, path, seed), partial(find_network, path)
        steps = training.protocol.updates(n)
        pieces.append(Piece(training.recipe, name, seed, path.parent, work, find, cost, steps))
    return pieces


def plan_training(subject: Subject, bench: Bench, hardening: Hardening) -> Training:
    task, made = bench.task, subject.made
    protocol = bench.protocol_of(subject)
    return Training(subject.train, task.network, protocol, task.flip, made.normalisation, hardening, bench.run())


def find_path(subject: Subject, bench: Bench, training: Training, seed: int) -> Path:
    """Networks without a key, which cannot be told from others, are kept for this call alone, under its own name."""
    known = training.network.key is not None
    folder, call = (subject.folder, "") if known else (bench.passing, str(bench.passing))
    return folder / f"{digest((training.recipe, seed, call))}.safetensors"


def train_network(training: Training, path: Path, seed: int, tick: Tick) -> str:
    """Weights from first to last epoch, with the bits that an evaluation of the same seed trains."""
    tensors, _ = read_tensors(training.train.path)
    device = training.run.device
    x, y = tensors["x"].to(device), tensors["y"].to(device)
    rng = Rng.of(seed).fold("evaluate")
    options: dict[str, Any] = {"flip": training.flip, "tick": lambda networks: tick()}
    options["harden"] = training.hardening.bind(training.normalisation)
    with use_precision(training.run.precision), use_device(device):
        w = fit(training.network, x, y, training.protocol, rng, training.run, **options)
    write_tensors(path, {name: tensor.cpu() for name, tensor in w.named().items()}, {"trained": training.recipe})
    return str(path)


def find_network(path: Path) -> str | None:
    """The path where whole weights lie there."""
    try:
        return str(path) if path.exists() and read_tensors(path) else None
    except DamagedFile:
        return None


def read_network(trained: Trained, device: torch.device) -> Weights:
    """Raises `ValueError` where the file is missing or damaged."""
    return Weights.of(read_tensors(trained.path)[0], device)
