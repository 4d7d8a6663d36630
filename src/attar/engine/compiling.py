"""Whether functions are compiled, and what the compiler may take for granted."""

import shutil
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch

from attar.engine.device import eager_flops, say_once

Compile = Literal["auto", "on", "off"]
Function = TypeVar("Function", bound=Callable[..., Any])
WORTH_COMPILING = 60  # seconds of eager work


def compiles(flop: int, device: torch.device, asked: Compile) -> bool:
    """Whether work of that size is compiled.

    Raises `ValueError` where that is asked for and there is no compiler.
    """
    if asked == "off" or (asked == "auto" and not worth_compiling(flop, device)):
        return False
    if has_compiler(device):
        return True
    if asked == "on":
        told = "compiling needs a C++ compiler (g++ or clang++) on this machine"
        raise ValueError(f"{told}: leave compile at auto, or install one")
    say_once("no C++ compiler (g++ or clang++) on this machine: networks run eagerly, which takes half as long again")
    return False


def worth_compiling(flop: int, device: torch.device) -> bool:
    """Whether eager execution would take so long that compiling first is faster."""
    return flop > WORTH_COMPILING * eager_flops(device)


def has_compiler(device: torch.device) -> bool:
    """C++ for loops on a CPU; C for what launches a GPU's kernels."""
    names = {"cpu": ("g++", "clang++", "cl"), "cuda": ("gcc", "clang", "cc")}
    return any(shutil.which(name) for name in names[device.type])


def compile_whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """One graph for each shape. What would run eagerly instead, unseen, is an error."""
    return torch.compile(function, dynamic=False, fullgraph=True)


def constant_when_compiled(function: Function) -> Function:
    """Compiled code takes what `function` gives as a constant.

    It does what `torch.compiler.assume_constant_result` does. Torch's own decorator imports the compiler, which takes
    as long as importing torch.
    """
    vars(function)["_dynamo_marked_constant"] = True
    return function
