import pytest
import torch

from attar.distances.by_name import DISCREPANCIES
from attar.engine.precision import choose_device_and_precision, default_precision, lower, use_precision
from attar.engine.run import Run
from attar.networks.by_name import make_network
from attar.rng import Rng
from attar.training.pretrained import pretrain

CPU = torch.device("cpu")


def test_low_precision_stays_inside():
    family = make_network("convnet", (1, 8, 8), 2)
    w, x = family.init(Rng.of(0)), torch.randn(4, 1, 8, 8)
    low = Run(Rng.of(0), precision="bf16").engine(family.features, 0)(w, x)
    exact = family.features(w, x)
    assert low.dtype == torch.float32 and not torch.equal(low, exact)
    assert torch.nn.functional.cosine_similarity(low.flatten(), exact.flatten(), 0) > 0.999
    scores, _ = Run(Rng.of(0), precision="bf16").engine(family.logits, 0)(w, x)
    assert scores.dtype == torch.float32


def test_results_keep_their_structure_and_are_float32_or_longer():
    def function(x):
        short = x.bfloat16()
        return {"a": (short, [x.half(), x.double()])}, x.long(), None

    found, whole, nothing = lower(function, CPU)(torch.ones(2))
    (a, (b, c)) = found["a"]
    assert [part.dtype for part in (a, b, c, whole)] == [torch.float32, torch.float32, torch.float64, torch.int64]
    assert nothing is None and isinstance(found["a"], tuple) and isinstance(found["a"][1], list)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("discrepancy", ["mean", "gaussian", "characteristic"])
def test_bf16_turns_pixel_gradients_by_a_few_per_cent(discrepancy, trained, task):
    """The bound of docs/numbers.md."""
    assert 0 < turned("bf16", discrepancy, trained, task) < 0.1


def turned(precision, discrepancy, trained, task):
    """How far the gradient of the pixels is from that of fp32, in parts of its length."""
    w, gradients = pretrain(task, Run(Rng.of(0), device=task.device), 1, 5)[0][trained], []
    x, r = (task.sample(range(3), n, Rng.of(n)) for n in (4, 20))
    for kind in ("fp32", precision):
        engine = Run(Rng.of(0), device=task.device, precision=kind).engine(task.network.features, 0)
        images = x.clone().requires_grad_()
        with use_precision(kind):
            synthetic, real = (engine(w, batch.flatten(0, 1)).unflatten(0, batch.shape[:2]) for batch in (images, r))
            DISCREPANCIES[discrepancy](synthetic, real.detach(), Rng.of(3)).sum().backward()
        gradients.append(images.grad)
    return (gradients[1] - gradients[0]).norm() / gradients[0].norm()


def test_precision_is_set_inside_the_block_only():
    cudnn = torch.backends.cudnn

    def state():
        return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.deterministic

    before = state()
    for precision, expected in (
        ("fp32", ("highest", False, True)),
        ("tf32", ("high", True, True)),
        ("bf16", ("highest", False, True)),
    ):
        with use_precision(precision):
            assert state() == expected
        assert state() == before


def test_default_precision_is_what_the_hardware_has():
    assert default_precision(CPU) in ("fp32", "bf16")
    assert choose_device_and_precision("cpu", None) == (CPU, default_precision(CPU)) and choose_device_and_precision(
        "cpu", "tf32"
    ) == (CPU, "tf32")


@pytest.mark.parametrize(
    ("device", "precision", "told"),
    [("cpu", "fp16", "precision"), ("tpu", None, "unknown device 'tpu'"), ("cuda:99", None, "torch finds no device")],
)
def test_what_is_unknown_or_not_there_is_refused(device, precision, told, unchecked):
    with pytest.raises(ValueError, match=told):
        choose_device_and_precision(device, precision)
