"""Pieces of work that survive anything: each is done once, by whichever process is free, and found ever after.

What kills or interrupts the work costs the pieces that were being done. Commands that want the same pieces share them.
"""

import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pickle import PicklingError
from typing import Any

import torch

from attar.engine.device import eager_flops, say_once
from attar.engine.ledger import count_steps
from attar.engine.piece import Outcome, Piece, attempt, note_plan
from attar.engine.run import Progress, silent
from attar.rng import CPU
from attar.wording import cut, in_a_line

WORTH_PROCESSES = 20  # seconds of work; a process starts in about four
# For libraries that read it as they are loaded. Without the last, the compiler in each would start a process a core.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
MOST_NAMED = 5  # failed pieces in a sentence; the ledger has them all


class PiecesFailed(ValueError):
    """Some pieces failed; what the others made is kept."""


class ProcessKilled(OSError):
    """Something ended a process that did pieces."""


class Tally:
    """Steps done by all processes together."""

    def __init__(self, pieces: Iterable[Piece], progress: Progress):
        self.total, self.ended, self.progress = sum(piece.steps for piece in pieces), 0, progress

    def show(self, running: Iterable[Piece] = ()) -> None:
        begun = sum(min(count_steps(piece.folder, piece.key), piece.steps) for piece in running)
        self.progress(self.ended + begun, self.total, math.nan)


Keep = Callable[[Piece, Outcome], None]


def run_pieces(
    pieces: Sequence[Piece],
    *,
    called: str = "pieces",
    device: torch.device = CPU,
    progress: Progress = silent,
) -> list[Any]:
    """What each of the pieces made, in their order. Those that are complete are found, the others are done.

    On a CPU they are spread over one-thread processes where that pays. `called` is a word for several of them. Raises
    `PiecesFailed` after all others are done, and what else ends a piece at once. Raises `ProcessKilled` where a process
    is killed.
    """
    made = {piece: found for piece in pieces if (found := piece.find()) is not None}
    left = [piece for piece in dict.fromkeys(pieces) if piece not in made]
    failed: dict[Piece, str] = {}
    tally = Tally(left, progress)

    def keep(piece: Piece, outcome: Outcome) -> None:
        if outcome.error:
            failed[piece] = outcome.error
        else:
            made[piece] = outcome.made
        tally.ended += piece.steps
        tally.show()

    note_plan(left, made)
    count = count_processes(left, device)
    if count < 2 or not run_in_processes(left, count, called, tally, keep):
        run_in_turn(left, tally, keep)
    if failed:
        raise PiecesFailed(tell_failures(failed, len(made), called))
    return [made[piece] for piece in pieces]


def count_processes(left: Sequence[Piece], device: torch.device) -> int:
    """As many as share the work; 1 where that is not worth their start, or the work cannot be sent."""
    count = min(torch.get_num_threads(), len(left))  # so that a limit on threads limits processes too
    cost = sum(piece.cost for piece in left)
    pays = device.type == "cpu" and count > 1 and cost >= WORTH_PROCESSES * eager_flops(device)
    return count if pays and can_travel(left) else 1


def can_travel(pieces: Sequence[Piece]) -> bool:
    """Whether all that the pieces need can be sent to another process: a user's network may hold what cannot."""
    import cloudpickle

    try:
        cloudpickle.dumps(pieces)
    except (TypeError, PicklingError):
        return False
    return True


def run_in_turn(left: Sequence[Piece], tally: Tally, keep: Keep) -> None:
    """Do the pieces here; those that another process is at come last, when they have to be waited for."""
    queue = deque((piece, False) for piece in left)
    while queue:
        piece, wait = queue.popleft()
        outcome = attempt(piece, wait, partial(tally.show, [piece]))
        if outcome.busy:
            queue.append((piece, True))
        else:
            keep(piece, outcome)


def run_in_processes(left: Sequence[Piece], count: int, called: str, tally: Tally, keep: Keep) -> bool:
    """Do the pieces in `count` one-thread processes, none of which outlives this. False where none can be started.

    Raises `ProcessKilled` where one is.
    """
    try:
        pool, futures = start_processes(left, count)
    except (OSError, ImportError, NotImplementedError) as error:  # of the system, or of what Python lacks on it
        say_once(f"no processes can be started ({in_a_line(error)}): {called} are made one after the other")
        return False
    from concurrent.futures import FIRST_COMPLETED, wait

    from loky.process_executor import TerminatedWorkerError

    try:
        while futures:
            ended, _ = wait(futures, timeout=1, return_when=FIRST_COMPLETED)  # a second, to show progress
            for future in ended:
                outcome = future.result()  # or an error, now and not after the pieces before it
                piece = futures.pop(future)
                if outcome.busy:
                    futures[pool.submit(attempt, piece, True)] = piece
                else:
                    keep(piece, outcome)
            tally.show(futures.values())
    except TerminatedWorkerError:  # loky cannot say why; mostly the system needed its memory
        fewer = count // 2
        raise ProcessKilled(
            f"one of {count} processes that make {called} was killed, most likely for lack of memory: "
            f"OMP_NUM_THREADS={fewer} in the environment makes {fewer} at a time; what is complete is kept"
        ) from None
    finally:
        pool.shutdown(kill_workers=bool(futures))  # after Ctrl-C or an error, the others would go on for long
    return True


def start_processes(left: Sequence[Piece], count: int) -> tuple[Any, dict[Any, Piece]]:
    """A pool of processes, and which piece is whose future. Raises what a system that starts none raises."""
    # It sends networks that a notebook or a function defines, and asks no `if __name__ == "__main__"` of scripts.
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(count, initializer=begin_worker, initargs=(os.getpid(),), env=ONE_THREAD)
    longest_first = sorted(left, key=lambda piece: -piece.cost)  # or the last to begin may be the last for long
    try:
        return pool, {pool.submit(attempt, piece, False): piece for piece in longest_first}
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


def tell_failures(failed: dict[Piece, str], kept: int, called: str) -> str:
    """A sentence that names the pieces, with the reason of each."""
    named = [f"{piece.name}, seed {piece.seed} ({cut(error, 300)})" for piece, error in failed.items()]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    told = f"{len(named)} of {len(named) + kept} {called} failed" + (", the others are kept" if kept else "")
    return f"{told}: {'; '.join(named[:MOST_NAMED])}{more}"
