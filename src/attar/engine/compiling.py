"""Whether functions are compiled, and what the compiler may take for granted."""

import ctypes
import functools
import getpass
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from attar.engine.device import eager_flops, say_once
from attar.files import make_passing_folder
from attar.wording import in_a_line

Compile = Literal["auto", "on", "off"]
Function = TypeVar("Function", bound=Callable[..., Any])
WORTH_COMPILING = 60  # seconds of eager work


def compiles(flop: int, device: torch.device, asked: Compile) -> bool:
    """Whether work of that size is compiled.

    Raises `ValueError` where that is asked for and no compiler works.
    """
    if asked == "off" or (asked == "auto" and not worth_compiling(flop, device)):
        return False
    fault = find_fault(device.type)
    if fault is None:
        return True
    if asked == "on":
        raise ValueError(f"{fault}: leave compile at auto, or install one")
    say_once(f"{fault}: networks run eagerly, which takes half as long again")
    return False


def worth_compiling(flop: int, device: torch.device) -> bool:
    """Whether eager execution would take so long that compiling first is faster."""
    return flop > WORTH_COMPILING * eager_flops(device)


@functools.cache
def find_fault(kind: str) -> str | None:
    """Why nothing can be compiled for devices of that kind; `None` where something can."""
    try:
        try_triton() if kind == "cuda" else try_compiler()
    except Exception as error:  # a compiler of another's may end with anything
        what = "triton" if kind == "cuda" else "C++ compiler"
        return f"no working {what} on this machine ({in_a_line(error)})"
    return None


def try_compiler() -> None:
    """An empty library, made by the compiler that torch takes, is loaded."""
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if (compiler := shutil.which(name)) is None:
        raise FileNotFoundError(f"there is no {name}")
    if sys.platform == "win32":  # it takes other options
        return
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "empty.so")
        command = [compiler, "-shared", "-fPIC", "-x", "c++", "-", "-o", library]
        subprocess.run(command, input=b"#include <cmath>\n", capture_output=True, check=True)
        ctypes.CDLL(library)


def try_triton() -> None:
    """A kernel of the smallest size runs: triton itself, and the C compiler that it launches kernels by."""
    from attar.engine.kernels.first_block_gpu import first_block

    image, weight, side = (torch.zeros(shape, device="cuda") for shape in ((1, 1, 4, 4), (16, 1, 3, 3), 16))
    first_block(image, weight, side, side, 1e-5, 0)


@functools.cache
def ensure_compiler_folder() -> None:
    """Where torch's compiler cannot write to its folder, it gets one that goes with this process.

    Torch imports its compiler for eager work too, with the first optimiser, and needs the folder even for that.
    """
    try:
        usual = Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}"
        folder = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or usual)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, KeyError, ImportError) as error:  # the last two where a user has no name, as in containers
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(make_passing_folder("attar-compiled-"))
        say_once(f"what torch compiles cannot be kept for other runs ({in_a_line(error)})")


def compile_whole(function: Callable[..., Any], fall: Callable[[], None] = lambda: None) -> Callable[..., Any]:
    """One graph for each shape. A limit that is hit, from where on it would run eagerly unseen, is an error.

    A module of others may hold what no graph can, such as a choice by what a number is. Then `fall` is called, the
    reason is logged, and the function runs eagerly from there on.
    """
    compiled: Callable[..., Any] | None = torch.compile(function, dynamic=False, fullgraph=True)

    @functools.wraps(function)
    def run(*given: Any) -> Any:
        nonlocal compiled
        if compiled is not None:
            try:
                return compiled(*given)
            except torch._dynamo.exc.TorchDynamoException as error:
                reason = in_a_line(error)
            compiled = None
            fall()
            say_once(f"this network cannot be compiled, and runs eagerly ({reason})")
        return function(*given)

    return run


def constant_when_compiled(function: Function) -> Function:
    """Compiled code takes what `function` gives as a constant.

    It does what `torch.compiler.assume_constant_result` does. Torch's own decorator imports the compiler, which takes
    as long as importing torch.
    """
    vars(function)["_dynamo_marked_constant"] = True
    return function
