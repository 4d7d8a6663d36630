"""What a caller's torch is set to, and what Attar's own work is done in."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Inside the block, or the decorated function, torch is as it comes, and afterwards as the caller had it.

    Torch keeps globally whether there are gradients, which dtype and device new tensors have, whether autocast is on,
    and how exact products are. The same call gives the same bits whatever a caller has set.
    """
    dtype = torch.get_default_dtype()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):  # only then: torch warns of a device that is not there
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # only then: it costs at every call of torch
            stack.enter_context(torch.device("cpu"))
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
        yield
