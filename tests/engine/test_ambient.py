"""Public functions give the same bits whatever torch is set to where they are called."""

import contextlib
import dataclasses

import pytest
import torch
from conftest import toy

import attar
from attar.engine.ambient import plain_torch
from attar.training.protocol import PROTOCOLS

QUICK = dataclasses.replace(PROTOCOLS["quick"], steps=3)
FP32 = {"device": "cpu", "precision": "fp32"}


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def rounded_products():
    torch.set_float32_matmul_precision("medium")
    try:
        yield
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device": lambda: default_device("meta"),
    "device": lambda: torch.device("meta"),
}


def now() -> tuple:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
    )


@pytest.mark.parametrize("state", [*STATES, "matmul"])
def test_a_set_is_decoded_and_loaded_alike_in_every_state(state, task, tmp_path):
    made = attar.condense(task, "dm", 1, factor=2, updates=1, batch_real=4, **FP32)
    attar.save(made, tmp_path / "made")
    usual = made.as_dataset().tensors[0], made.pictures()
    with STATES[state]() if state in STATES else rounded_products():
        loaded = attar.load(tmp_path / "made")
        found = loaded.as_dataset().tensors[0], attar.CondensedSet.concat([loaded]).pictures()
    assert all(map(torch.equal, found, usual)) and not loaded.images.is_inference()
    assert torch.get_float32_matmul_precision() == "highest"


IMAGES, LABELS = (tensor.numpy() for tensor in toy(3).train.tensors.values())


def condense_and_judge() -> tuple[list[torch.Tensor], list]:
    """A method of each kind, on data that becomes tensors where the state holds, as a user's does."""
    x, y = torch.from_numpy(IMAGES.astype("float32") / 255), torch.from_numpy(LABELS)
    given = {"updates": 2, "batch_real": 4}
    sets = [
        attar.condense((x, y), "dm", 1, **FP32, **given),
        attar.condense((x, y), "herding", 1, epochs=1, **FP32),
    ]
    attar.plan((x, y), "dm", 1, **FP32, **given)
    rows = attar.evaluate(sets, (x, y), protocol=QUICK, seeds=1, **FP32)
    return [made.images for made in sets], [row.per_class for row in rows]


@pytest.fixture(scope="module")
def plain():
    return condense_and_judge()


@pytest.mark.parametrize("state", [name for name in STATES if "device" not in name])
def test_the_same_bits_in_every_state(state, plain, monkeypatch):
    monkeypatch.setenv("ATTAR_CACHE", f"/nowhere/{state}")  # nothing is taken from runs in another state
    with STATES[state]():
        before = now()
        images, accuracies = condense_and_judge()
        assert now() == before
    assert all(map(torch.equal, images, plain[0])) and accuracies == plain[1]
    assert all(x.dtype == torch.float32 and not x.is_inference() for x in images)


@pytest.mark.parametrize("state", ["default device", "device"])
def test_the_same_bits_with_another_default_device(state, task):
    made = attar.condense(task, "dm", 1, updates=2, batch_real=4, **FP32)
    with STATES[state]():
        other = attar.condense(task, "dm", 1, updates=2, batch_real=4, **FP32)
        (row,) = attar.evaluate(other, task, protocol=QUICK, seeds=1, **FP32)
    assert torch.equal(made.images, other.images)
    assert row.per_class == attar.evaluate(made, task, protocol=QUICK, seeds=1, **FP32)[0].per_class


@pytest.mark.parametrize("state", STATES)
def test_an_error_leaves_the_state_as_it_was(state):
    with STATES[state]():
        before = now()
        with pytest.raises(ValueError, match="ends"), plain_torch():
            assert now() == (True, False, False, torch.float32, torch.device("cpu"))
            raise ValueError("ends")
        assert now() == before
