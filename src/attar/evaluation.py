"""Training fresh networks on condensed sets and testing them, once each, at the end."""

import hashlib
import json
import pickle
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attar.artefact import CondensedSet, load
from attar.data import load_data
from attar.files import read_tensors, write_tensors
from attar.fit import TRAINING, fit_together, predict
from attar.names import unknown
from attar.network import Network, Weights
from attar.protocol import PROTOCOLS, Protocol
from attar.rng import Rng
from attar.rows import Row
from attar.run import Compile, Precision, Progress, Run, default_precision, eager_flops, full_precision, silent
from attar.task import Task, per_channel, unit

WORTH_PROCESSES = 20  # seconds of work; a process starts in about four


@dataclass(frozen=True)
class Job:
    """Networks to train side by side, and to test. Tensors travel as a file, so that processes share them."""

    data: Path
    network: Network
    protocol: Protocol
    seeds: tuple[int, ...]
    flip: bool
    precision: Precision
    compile: Compile
    device: torch.device


def evaluate(
    sets: CondensedSet | str | Path | Sequence[CondensedSet | str | Path],
    data: Any,
    *,
    protocol: str | Protocol = "dm",
    seeds: int | Iterable[int] = 3,
    network: str | None = None,
    eight_bit: bool = False,
    soft: bool = False,
    device: str | torch.device = "cpu",
    precision: Precision | None = None,
    compile: Compile = "auto",
    progress: Progress = silent,
) -> list[Row]:
    """One row for each set and seed: a fresh network, trained by `protocol`, tested after its last epoch.

    Sets may be given by their folders, `data` as `attar.condense` takes it; `seeds` as a number or one by one. On a CPU
    the networks are spread over one-thread processes where that pays. `eight_bit` trains on what the 8-bit images hold
    instead of the exact floats, `soft` on a set's soft labels. Raises `ValueError` where a set is not of this data, or has
    no soft labels, or the protocol is unknown.
    """
    device = torch.device(device)
    task = load_data(data, network=network)
    family = task.network.to(device)
    protocol = named(protocol)
    seeds = list(range(seeds) if isinstance(seeds, int) else seeds)
    if not seeds:
        raise ValueError("evaluation needs at least one seed")
    given = [sets] if isinstance(sets, CondensedSet | str | Path) else sets
    loaded = [made if isinstance(made, CondensedSet) else load(made) for made in given]
    for made in loaded:
        fits(made, task)
        if soft and made.soft is None:
            name, ipc = made.provenance.get("method", "given"), made.ipc
            raise ValueError(f"the set of {name}, {ipc} per class, has no soft labels: condense with method ncfm and soft=true for some")
    # Decided once for all networks: what one compiles, the next finds in the cache.
    flop = work(loaded, task, protocol) * len(seeds)
    compile = "on" if Run(Rng.of(0), device=device, compile=compile).compiles(flop) else "off"
    precision = precision or default_precision(device)
    kind = {"eight_bit": eight_bit, "soft": soft}
    with tempfile.TemporaryDirectory(prefix="attar-") as folder:
        staged = [stage(made, task, kind, Path(folder) / f"{i}.safetensors") for i, made in enumerate(loaded)]
        teams = [tuple(seeds)] if device.type == "cuda" and family.ours else [(seed,) for seed in seeds]
        jobs = [Job(path, family, protocol, team, task.flip, precision, compile, device) for path in staged for team in teams]
        ticks = sum(protocol.updates(len(made.decoded_labels())) for made in loaded) * len(teams)
        results = execute(jobs, flop, Ticker(Path(folder) / "ticks", ticks, progress))
    owners = [(made, seed) for made in loaded for seed in seeds]
    return [row(made, task, jobs[0], seed, kind, result) for (made, seed), result in zip(owners, results, strict=True)]


def named(protocol: str | Protocol) -> Protocol:
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(unknown("protocol", protocol, PROTOCOLS))
    return PROTOCOLS[protocol]


def fits(made: CondensedSet, task: Task) -> None:
    if made.classes != task.classes:
        raise ValueError(f"the set's classes {first_few(made.classes)} are not those of {task.name}: {first_few(task.classes)}")
    if made.images.shape[1:] != task.shape:
        raise ValueError(f"the set's images are {tuple(made.images.shape[1:])}, those of {task.name} {task.shape}")


def first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", … ({len(names)})" if len(names) > 3 else "")


def work(sets: Sequence[CondensedSet], task: Task, protocol: Protocol) -> int:
    """Floating-point operations of training one network on each set and testing it."""
    images = sum(TRAINING * protocol.length(n) * n + len(task.test.y) for n in (len(made.decoded_labels()) for made in sets))
    return images * task.network.flop(task.shape)


def stage(made: CondensedSet, task: Task, kind: dict[str, bool], path: Path) -> Path:
    x, y = made.as_dataset(**kind).tensors
    tensors = {"x": x, "y": y, "test_x": task.test.x.cpu(), "test_y": task.test.y.cpu()}
    write_tensors(path, tensors, {"mean": made.mean, "std": made.std, "classes": len(task.classes)})
    return path


class Ticker:
    """Steps done by all processes together: a file that each lengthens by a byte a step."""

    def __init__(self, path: Path, total: int, progress: Progress):
        self.path, self.total, self.progress = path, total, progress
        path.touch()

    def tick(self) -> None:
        with self.path.open("ab") as file:
            file.write(b".")

    def show(self) -> None:
        self.progress(self.path.stat().st_size, self.total, float("nan"))


def execute(jobs: list[Job], flop: int, ticker: Ticker) -> list["Result"]:
    """Run the jobs here, or in one-thread processes where the device is a CPU and the work is worth their start."""
    device = jobs[0].device
    count = min(torch.get_num_threads(), len(jobs))
    if device.type != "cpu" or count < 2 or flop < WORTH_PROCESSES * eager_flops(device) or not travels(jobs[0]):
        return [result for job in jobs for result in train_and_test(job, ticker, show=True)]
    return spread(jobs, count, ticker)


def spread(jobs: list[Job], count: int, ticker: Ticker) -> list["Result"]:
    """Run the jobs in `count` one-thread processes, none of which outlives this. Raises `OSError` where one is killed."""
    from concurrent.futures import FIRST_EXCEPTION, wait

    from loky import ProcessPoolExecutor
    from loky.process_executor import TerminatedWorkerError

    pool = ProcessPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,), env=ONE_THREAD)
    quiet = Ticker(ticker.path, ticker.total, silent)
    futures = [pool.submit(train_and_test, job, quiet) for job in jobs]
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=1, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()  # a job's error now, not after the jobs before it
            ticker.show()
        return [result for future in futures for result in future.result()]
    except TerminatedWorkerError:
        raise OSError(
            f"one of {count} processes that train networks was killed, most likely for lack of memory: "
            f"OMP_NUM_THREADS={count // 2} in the environment trains {count // 2} at a time"
        ) from None
    finally:
        pool.shutdown(kill_workers=bool(waiting))  # after Ctrl-C, or when one job failed, the others would go on for long


ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


def travels(job: Job) -> bool:
    """Whether the user's network can be sent to another process."""
    import cloudpickle

    try:
        cloudpickle.dumps(job)
    except (TypeError, pickle.PicklingError):
        return False
    return True


@dataclass(frozen=True)
class Result:
    per_class: tuple[float, ...]
    accuracy: float
    seconds: float


def train_and_test(job: Job, ticker: Ticker, show: bool = False) -> list[Result]:
    """For each seed the accuracies in per cent over the test part, and its share of the seconds that training took."""
    tensors, meta = read_tensors(job.data)
    x, y, test_x, test_y = (tensors[name].to(job.device) for name in ("x", "y", "test_x", "test_y"))
    mean, std = (per_channel(meta[name], x) for name in ("mean", "std"))
    rngs = [Rng.of(seed).fold("evaluate") for seed in job.seeds]
    run = Run(rngs[0], device=job.device, precision=job.precision, compile=job.compile)

    def tick(_: Weights) -> None:
        ticker.tick()
        if show:
            ticker.show()

    start = time.perf_counter()
    with full_precision(unless=job.precision == "tf32"):
        networks = fit_together(job.network, x, y, job.protocol, rngs, run, flip=job.flip, tick=tick)
        seconds = (time.perf_counter() - start) / len(rngs)
        found = predict(job.network, networks, lambda part: (unit(test_x[part]) - mean) / std, len(test_y), run)
    hits = [labels == test_y for labels in found]
    per_class = [tuple(100 * right[test_y == c].float().mean().item() for c in range(meta["classes"])) for right in hits]
    return [Result(own, 100 * right.float().mean().item(), seconds) for own, right in zip(per_class, hits, strict=True)]


def variant(made: CondensedSet) -> str:
    """Tells apart sets of one method: by how they were made and from what, or by their images where nothing is known of that."""
    about = made.provenance
    if "hyperparameters" not in about:
        told = made.images.numpy().tobytes()
    else:
        told = json.dumps([about["hyperparameters"], about["network"], about["fingerprint"], about["engine"]["precision"]]).encode()
    return hashlib.blake2b(told, digest_size=4).hexdigest()


def row(made: CondensedSet, task: Task, job: Job, seed: int, kind: dict[str, bool], result: Result) -> Row:
    """The result with all that a reader needs to judge it; what the set's provenance does not say is `given`, 0 or `None`."""
    about: dict[str, Any] = made.provenance
    return Row(
        data=task.name,
        method=about.get("method", "given"),
        ipc=made.ipc,
        draw=about.get("seed", 0),
        variant=variant(made),
        protocol=job.protocol.name,
        network=job.network.name,
        seed=seed,
        accuracy=result.accuracy,
        per_class=result.per_class,
        epochs=job.protocol.length(len(made.decoded_labels())),
        bytes=made.bytes["eight_bit" if kind["eight_bit"] else "stored"] + made.bytes["soft"] * kind["soft"],
        **kind,
        precision=job.precision,
        split=task.split,
        condense_seconds=about.get("seconds"),
        train_seconds=round(result.seconds, 2),
    )
