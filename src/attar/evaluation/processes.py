"""Networks trained and tested side by side, on a CPU in processes of their own."""

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from pickle import PicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attar.data.normalisation import Normalisation, unit
from attar.engine.compiling import Compile
from attar.engine.device import eager_flops, say_once, use_device
from attar.engine.precision import Precision, use_precision
from attar.engine.run import Progress, Run, silent
from attar.files import read_tensors
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.training.fit import fit_together, predict
from attar.training.protocol import Protocol
from attar.wording import in_a_line

WORTH_PROCESSES = 20  # seconds of work; a process starts in about four
# For libraries that read it as they are loaded. Without the last, the compiler in each would start a process a core.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


class Part(NamedTuple):
    """Images and labels in a file."""

    path: Path
    hash: str


@dataclass(frozen=True)
class Job:
    """Networks to train side by side, and to test. Tensors travel as files, so that processes share them."""

    of: int
    """Which of the sets it is about."""
    train: Part
    test: Part
    normalisation: Normalisation
    network: Network
    protocol: Protocol
    classes: int
    seeds: tuple[int, ...]
    flip: bool
    precision: Precision
    compile: Compile
    device: torch.device


@dataclass(frozen=True)
class Result:
    per_class: tuple[float | None, ...]
    """`None` where there is no test image of the class."""
    accuracy: float
    seconds: float
    measures: dict[str, float] = field(default_factory=dict)


class Ticker:
    """Steps done by all processes together: a file that each lengthens by a byte a step."""

    def __init__(self, path: Path, total: int, progress: Progress):
        self.path, self.total, self.progress = path, total, progress
        path.touch()

    def tick(self) -> None:
        with self.path.open("ab") as file:  # appending a byte needs no lock between processes
            file.write(b".")

    def show(self) -> None:
        self.progress(self.path.stat().st_size, self.total, float("nan"))


Keep = Callable[[Job, list[Result]], None]


def execute(jobs: list[Job], flop: int, ticker: Ticker, keep: Keep) -> None:
    """Run the jobs here, or in one-thread processes where the device is a CPU and the work is worth their start.

    `keep(job, results)` is called as each ends.
    """
    device = jobs[0].device
    count = min(torch.get_num_threads(), len(jobs))  # so that a limit on threads limits processes too
    if device.type != "cpu" or count < 2 or flop < WORTH_PROCESSES * eager_flops(device) or not can_travel(jobs):
        run_in_turn(jobs, ticker, keep)
    else:
        run_in_processes(jobs, count, ticker, keep)


def run_in_turn(jobs: list[Job], ticker: Ticker, keep: Keep) -> None:
    for job in jobs:
        keep(job, train_and_test(job, ticker, show=True))


def run_in_processes(jobs: list[Job], count: int, ticker: Ticker, keep: Keep) -> None:
    """Run the jobs in `count` one-thread processes, none of which outlives this.

    Raises `OSError` where one is killed.
    """
    try:
        # A terminal's bar cannot be sent to a process.
        pool, futures = start_processes(jobs, count, Ticker(ticker.path, ticker.total, silent))
    except (OSError, ImportError, NotImplementedError) as error:  # of the system, or of what Python lacks on it
        say_once(f"no processes can be started ({in_a_line(error)}): networks are trained one after the other")
        return run_in_turn(jobs, ticker, keep)
    from concurrent.futures import FIRST_EXCEPTION, wait

    from loky.process_executor import TerminatedWorkerError

    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=1, return_when=FIRST_EXCEPTION)  # a second, to show progress
            for future in done:
                keep(futures[future], future.result())  # or a job's error, now and not after the jobs before it
            ticker.show()
    except TerminatedWorkerError:  # loky cannot say why; mostly the system needed its memory
        raise OSError(
            f"one of {count} processes that train networks was killed, most likely for lack of memory: "
            f"OMP_NUM_THREADS={count // 2} in the environment trains {count // 2} at a time"
        ) from None
    finally:
        pool.shutdown(kill_workers=bool(waiting))  # after Ctrl-C or a failed job, the others would go on for long


def start_processes(jobs: list[Job], count: int, ticker: Ticker) -> tuple[Any, dict[Any, Job]]:
    """A pool of processes, and which job is whose future. Raises what a system that starts none raises."""
    # It sends networks that a notebook or a function defines, and asks no `if __name__ == "__main__"` of scripts.
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(count, initializer=begin_worker, initargs=(os.getpid(),), env=ONE_THREAD)
    try:
        return pool, {pool.submit(train_and_test, job, ticker): job for job in jobs}
    except BaseException:
        pool.shutdown(wait=False, kill_workers=True)
        raise


def begin_worker(parent: int) -> None:
    """One thread computes, another ends the process when its parent is gone, however that ended."""
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if sys.platform != "win32":  # where a process keeps the number of a parent that is gone
        threading.Thread(target=watch, daemon=True).start()


def can_travel(jobs: list[Job]) -> bool:
    """Whether the user's networks can be sent to another process. One job stands for all of its network."""
    import cloudpickle

    try:
        cloudpickle.dumps(list({job.network.name: job for job in jobs}.values()))
    except (TypeError, PicklingError):
        return False
    return True


def train_and_test(job: Job, ticker: Ticker, show: bool = False) -> list[Result]:
    """For each seed the accuracies in per cent over the test part, and its share of the seconds that training took."""
    x, y, test_x, test_y = (
        tensors[name].to(job.device)
        for tensors, _ in (read_tensors(job.train.path), read_tensors(job.test.path))
        for name in ("x", "y")
    )
    rngs = [Rng.of(seed).fold("evaluate") for seed in job.seeds]
    run = Run(rngs[0], device=job.device, precision=job.precision, compile=job.compile)

    def tick(_: list[Weights]) -> None:
        ticker.tick()
        if show:
            ticker.show()

    def look(part: slice) -> Tensor:
        return job.normalisation.to_network(unit(test_x[part]))  # floats only of a part: four times the bytes

    start = time.perf_counter()
    with use_precision(job.precision), use_device(job.device):
        networks = fit_together(job.network, x, y, job.protocol, rngs, run, flip=job.flip, tick=tick)
        seconds = (time.perf_counter() - start) / len(rngs)
        found = predict(job.network, networks, look, len(test_y), run)
    hits = [labels == test_y for labels in found]
    per_class = [tuple(average(right[test_y == c]) for c in range(job.classes)) for right in hits]
    return [Result(own, 100 * right.float().mean().item(), seconds) for own, right in zip(per_class, hits, strict=True)]


def average(right: Tensor) -> float | None:
    """Per cent of these answers that are right; `None` where there are none."""
    return 100 * right.float().mean().item() if len(right) else None
