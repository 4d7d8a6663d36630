"""Pieces of work that tell when they are begun and done, also by processes that import this."""

import os
import sys
import time
from functools import partial
from pathlib import Path

import torch

from attar.engine import pieces
from attar.engine.piece import Piece, Tick
from attar.files import write_text

STEPS = 4


def square(path: Path, number: int, seconds: float, tick: Tick) -> int:
    say(path.parent / "begun", number)
    for _ in range(STEPS):
        time.sleep(seconds / STEPS)
        tick()
    write_text(path, str(number**2))
    say(path.parent / "done", number)
    return number**2


def say(path: Path, number: int) -> None:
    with path.open("a") as file:
        file.write(f"{number} {os.getpid()}\n")


def said(path: Path) -> list[tuple[int, int]]:
    """The numbers, and the processes that said them."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(number), int(process)) for number, process in map(str.split, lines)]


def find_square(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() else None


def squares(folder: Path, count: int = 8, seconds: float = 0.0, work=square) -> list[Piece]:
    paths = [folder / f"{i}.txt" for i in range(count)]
    return [
        Piece(
            "square", f"square of {i}", 0, folder, partial(work, path, i, seconds), partial(find_square, path), 1, STEPS
        )
        for i, path in enumerate(paths)
    ]


def command(folder: str, processes: str, seconds: str) -> None:
    """Do the pieces of a folder, as a command would."""
    pieces.WORTH_PROCESSES = 0
    torch.get_num_threads = lambda: int(processes)
    pieces.run_pieces(squares(Path(folder), seconds=float(seconds)), called="squares")


if __name__ == "__main__":
    import squares  # under this name processes import it too

    squares.command(*sys.argv[1:])
