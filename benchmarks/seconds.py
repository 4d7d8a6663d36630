"""How long the default methods take where no product is in bf16, from nothing: empty caches, compiling included.

    python benchmarks/seconds.py --root DATA

What is planned to take over five minutes is planned only, and said so. The result is `results/seconds/cpu.json`.
"""

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line has it

import tyro
from quality import HOME, commit, kept

import attar
from attar.data.load import load_data
from attar.files import write_json
from attar.runs.default_method import read_winners

RESULTS = HOME / "results" / "seconds"
LONG = 300
DATA = ("mnist", "cifar10")


def measure(data: str, ipc: int, root: Path) -> dict[str, object]:
    task = load_data(data, root=root)
    method = read_winners()[data][str(ipc)]["method"]
    with tempfile.TemporaryDirectory() as cache:
        # Networks and what is compiled lie here; the decoded images, read before, do not count.
        os.environ |= {"ATTAR_CACHE": cache, "TORCHINDUCTOR_CACHE_DIR": f"{cache}/compiled"}
        planned = attar.plan(task, method, ipc, precision="fp32").seconds
        if planned > LONG:
            return {"data": data, "ipc": ipc, "method": method, "planned": round(planned)}
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"ATTAR_CACHE": cache, "TORCHINDUCTOR_CACHE_DIR": f"{cache}/compiled"}
        start = time.perf_counter()
        attar.condense(task, method, ipc, precision="fp32")
        taken = time.perf_counter() - start
    return {"data": data, "ipc": ipc, "method": method, "planned": round(planned), "seconds": round(taken)}


def main(root: Path) -> None:
    out = RESULTS / "cpu.json"
    record = kept(out, "cpu", {"commit": commit(), "precision": "fp32", "cells": []})
    for data in DATA:
        for ipc in read_winners()[data]:
            if any((cell["data"], cell["ipc"]) == (data, int(ipc)) for cell in record["cells"]):
                continue
            cell = measure(data, int(ipc), root)
            record["cells"].append(cell)
            write_json(out, record)
            print(cell, flush=True)


if __name__ == "__main__":
    tyro.cli(main)
