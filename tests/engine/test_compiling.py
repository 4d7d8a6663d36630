import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from attar.engine.compiling import compile_whole, compiles, ensure_compiler_folder, find_fault, worth_compiling
from attar.engine.device import eager_flops, say_once
from attar.engine.fast_layers import has_gpu_kernels
from attar.engine.run import Run
from attar.networks.by_name import ARCHITECTURES, make_network
from attar.networks.network import Network
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


class Choosing(nn.Module):
    """Chooses by what a number is: no graph can hold that."""

    def __init__(self, shape, classes):
        super().__init__()
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        x = x.flatten(1)
        return self.head(x if x.device.type == "meta" or x.sum() > 0 else -x)


def test_what_cannot_be_compiled_runs_eagerly_and_that_is_said_once(fresh, unchecked, monkeypatch, caplog):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    family, run = Network(partial(Choosing, (1, 2, 2), 3)), Run(Rng.of(0), compile="on")
    scores, plain = run.engine(family.scores, 7), run.engine(same, 5)
    assert run.ledger.flop == {"compiled": 12}
    w = family.init(Rng.of(0))
    for x in (torch.ones(2, 1, 2, 2), -torch.ones(3, 1, 2, 2)):
        assert torch.equal(scores(w, x), family.scores(w, x)) and torch.equal(plain(w, x), x)
    (record,) = (record for record in caplog.records if record.name == "attar")
    assert record.message.startswith("this network cannot be compiled, and runs eagerly (")
    assert run.ledger.flop == {"compiled": 5, "eager": 7}


def test_a_limit_that_is_hit_is_an_error(fresh, unchecked, monkeypatch):
    """From there on torch would run eagerly, unseen."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    doubled = compile_whole(lambda x: 2 * x)
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        for n in range(1, 20):
            doubled(torch.ones(n))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_known_networks_are_one_graph(name, unchecked):
    """None of them falls to eager."""
    family = make_network(name, (3, 32, 32), 4)
    w, x, y = family.init(Rng.of(0)), torch.randn(2, 3, 32, 32), torch.arange(2)
    for function, given in ((family.train_logits, (w, x)), (family.statistics, (w, x)), (family.gradient, (w, x, y))):
        torch.compile(function, fullgraph=True, backend="eager")(*given)


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
