import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attar.engine.compiling import compiles, ensure_compiler_folder, find_fault, worth_compiling
from attar.engine.device import eager_flops, say_once
from attar.engine.fast_layers import has_gpu_kernels
from attar.engine.run import Run
from attar.rng import Rng

CPU = torch.device("cpu")


def same(w, x):
    return x


@pytest.fixture
def fresh():
    """What was found of the machine is forgotten, before and after."""
    found = (find_fault, ensure_compiler_folder, say_once)
    for function in found:
        function.cache_clear()
    yield
    for function in found:
        function.cache_clear()


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


@pytest.mark.parametrize(
    "compiler, told", [("nowhere/g++", "FileNotFoundError"), ("false", "CalledProcessError"), ("true", "OSError")]
)
def test_without_a_compiler_everything_runs_eagerly_and_says_so_once(compiler, told, fresh, monkeypatch, caplog):
    monkeypatch.setenv("CXX", compiler)
    assert all(Run(Rng.of(0)).engine(same, 10**18) is same for _ in range(2))
    (record,) = caplog.records
    assert record.message.startswith(f"no working C++ compiler on this machine ({told}: ")
    with pytest.raises(ValueError, match=r"no working C\+\+ compiler .* leave compile at auto, or install one"):
        Run(Rng.of(0), compile="on").engine(same, 0)


def test_a_triton_that_does_not_work_is_told(fresh, monkeypatch, caplog):
    monkeypatch.setattr("attar.engine.compiling.try_triton", lambda: 1 / 0)
    gpu = torch.device("cuda")
    assert not any(compiles(10**18, gpu, "auto") for _ in range(2))
    assert not has_gpu_kernels()
    assert [record.message.partition(": ")[0] for record in caplog.records] == [
        "no working triton on this machine (ZeroDivisionError"
    ] * 2


def test_a_triton_that_cannot_be_imported_is_done_without(tmp_path):
    (tmp_path / "triton.py").write_text("raise RuntimeError('broken')")
    code = "from attar.engine.fast_layers import HAS_TRITON; print(HAS_TRITON)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout == "False\n"


@pytest.mark.parametrize("user", ["known", "unknown"])
def test_a_compiler_that_cannot_write_to_its_folder_gets_another(user, fresh, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    if user == "unknown":
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
        monkeypatch.setattr("getpass.getuser", lambda: {}["uid 12345"])
    Run(Rng.of(0)).engine(same, 1)
    own = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert own.is_dir() and own.name.startswith("attar-compiled-")
    assert caplog.text.count("what torch compiles cannot be kept for other runs (") == 1
