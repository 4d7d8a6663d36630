import subprocess
import sys

import pytest
import torch

from attar.engine.compiling import compiles, worth_compiling
from attar.engine.device import eager_flops
from attar.engine.run import Run
from attar.rng import Rng

CPU = torch.device("cpu")


def same(w, x):
    return x


def test_importing_attar_imports_no_compiler():
    code = "import sys, attar.runs.condense; print('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_compiling_is_for_long_work():
    minute = int(60 * eager_flops(CPU))
    assert not worth_compiling(minute, CPU) and worth_compiling(minute + 1, CPU)
    calm = Run(Rng.of(0))
    assert calm.engine(same, 1) is same and calm.ledger.flop == {"eager": 1}
    assert [compiles(flop, CPU, "off") for flop in (0, 10**18)] == [False, False]
    assert [compiles(flop, CPU, "on") for flop in (0, 10**18)] == [True, True]


def test_without_a_compiler_everything_runs_eagerly_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert all(Run(Rng.of(0)).engine(same, 10**18) is same for _ in range(2))
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "no C++ compiler (g++ or clang++) on this machine"
    ]
    with pytest.raises(ValueError, match="compiling needs a C"):
        Run(Rng.of(0), compile="on").engine(same, 0)
