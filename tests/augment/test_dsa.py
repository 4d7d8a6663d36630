"""Every operation against a scalar loop over pixels, and the laws of the two styles."""

import math

import pytest
import torch
from test_affine import images, resampled

from attar.augment.dsa import Augment, apply, apply_everywhere
from attar.augment.operations import FUNCTIONS, cover
from attar.rng import Rng

VICO = "color_crop_cutout_flip_scale_rotate"


def slow(op, x, u):
    """One image (c, h, w) by loops: what the authors of DSA and of IDC publish, with their constants."""
    c, h, w = x.shape
    if op == "brightness":
        return x + (u[0] - 0.5)
    if op == "saturation":
        m = sum(x[k] for k in range(c)) / c
        return torch.stack([m + 2 * u[0] * (x[k] - m) for k in range(c)])
    if op == "contrast":
        m = x.sum() / x.numel()
        return m + (u[0] + 0.5) * (x - m)
    if op == "flip":
        return torch.stack([x[:, :, w - 1 - j] for j in range(w)], 2) if u[0] < 0.5 else x
    if op == "crop":
        out, (dy, dx) = torch.zeros_like(x), (int(v) for v in u)
        for i in range(h):
            for j in range(w):
                if 0 <= i + dy < h and 0 <= j + dx < w:
                    out[:, i, j] = x[:, i + dy, j + dx]
        return out
    if op == "cutout":
        out, (cy, cx, kh, kw) = x.clone(), (int(v) for v in u)
        for a in range(kh):
            for b in range(kw):
                i, j = cy - kh // 2 + a, cx - kw // 2 + b
                out[:, min(max(i, 0), h - 1), min(max(j, 0), w - 1)] = 0
        return out
    if op == "scale":
        sx, sy = (1 / 1.2 + v * (1.2 - 1 / 1.2) for v in u)
        return torch.stack([resampled(x[k], [[sx, 0], [0, sy]]) for k in range(c)])
    t = (u[0] - 0.5) * 2 * {"rotate": 15, "turn": 45}[op] * math.pi / 180
    return torch.stack([resampled(x[k], [[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]) for k in range(c)])


PARAMETERS = {
    "brightness": [[0.0], [0.3], [0.99]],
    "saturation": [[0.0], [0.5], [0.9]],
    "contrast": [[0.0], [0.5], [0.7]],
    "flip": [[0.1], [0.9], [0.5]],
    "crop": [[-1, 1], [0, 0], [1, -1]],
    "cutout": [[0, 0, 4, 4], [8, 8, 4, 4], [3, 5, 3, 5]],
    "scale": [[0.0, 1.0], [0.5, 0.2], [0.9, 0.9]],
    "rotate": [[0.0], [0.5], [0.8]],
    "turn": [[0.0], [0.5], [0.8]],
}


@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operation_equals_the_loop(op, channels):
    x = images(c=channels)
    value = torch.tensor(PARAMETERS[op], dtype=torch.float64)
    fast = FUNCTIONS[op](x, value)
    for g in range(3):
        for n in range(2):
            torch.testing.assert_close(fast[g, n], slow(op, x[g, n], value[g].tolist()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_one_group_serves_all(op):
    x, value = images(), torch.tensor(PARAMETERS[op][2:], dtype=torch.float64)
    torch.testing.assert_close(FUNCTIONS[op](x, value), FUNCTIONS[op](x, value.expand(3, -1)))


@pytest.mark.parametrize("op", FUNCTIONS)
def test_gradient(op):
    x = images(g=2, n=1, c=2, h=5, w=5).requires_grad_()
    value = torch.tensor(PARAMETERS[op][1:], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: FUNCTIONS[op](x, value), x)


def test_the_hole_is_cut_by_the_border():
    assert cover(32, torch.tensor([32.0]), torch.tensor([16.0])).sum() == 8
    assert cover(32, torch.tensor([0.0]), torch.tensor([16.0])).sum() == 8
    assert cover(32, torch.tensor([16.0]), torch.tensor([16.0])).sum() == 16


@pytest.mark.parametrize("side, shift, hole", [(32, 4, 16), (28, 4, 14), (64, 8, 32), (128, 16, 64)])
def test_ranges_of_the_draws(side, shift, hole):
    draw = {s.op: s.value for s in Augment("crop_cutout", "idc").draw(4000, (3, side, side), Rng.of(0)).steps}
    assert draw["crop"].min() == -shift and draw["crop"].max() == shift
    assert (draw["cutout"][:, 2:] == hole).all()
    assert draw["cutout"][:, :2].min() == 0 and draw["cutout"][:, :2].max() == side - hole % 2
    scale = Augment("scale").draw(4000, (3, side, side), Rng.of(0)).steps[0].value
    assert not torch.equal(scale[:, 0], scale[:, 1])


def test_dsa_applies_one_operation_uniformly():
    draw = Augment(VICO).draw(6000, (3, 8, 8), Rng.of(1))
    counts = {step.op: int(step.on.sum()) for step in draw.steps}
    assert sum(counts.values()) - counts["saturation"] - counts["contrast"] == 6000
    assert counts["brightness"] == counts["saturation"] == counts["contrast"]
    for op in ("brightness", "crop", "cutout", "flip", "scale", "rotate"):
        assert abs(counts[op] - 1000) < 5 * math.sqrt(6000 * 5 / 36)


def test_idc_always_colours_and_cuts_and_draws_one_geometric_operation():
    draw = Augment("color_crop_cutout_flip_scale_rotate", "idc").draw(3000, (3, 8, 8), Rng.of(1))
    on = {step.op: step.on for step in draw.steps}
    assert list(on) == ["flip", "brightness", "saturation", "contrast", "crop", "scale", "rotate", "cutout"]
    assert all(on[op].all() for op in ("flip", "brightness", "saturation", "contrast", "cutout"))
    assert (on["crop"].int() + on["scale"].int() + on["rotate"].int() == 1).all()
    last = [step.op for step in Augment("color_crop_cutout", "idc").draw(5, (3, 8, 8), Rng.of(0)).steps][-2:]
    assert last == ["crop", "cutout"]


def test_siamese_real_and_synthetic_see_the_same():
    draw = Augment(VICO).draw(3, (3, 8, 8), Rng.of(2))
    x = images(n=1).float()
    both = apply(x.expand(3, 4, 3, 8, 8).contiguous(), draw)
    for i in range(4):
        torch.testing.assert_close(both[:, i : i + 1], apply(x, draw))


def test_rows_of_a_draw_are_what_those_groups_would_see():
    draw, x = Augment(VICO).draw(5, (3, 8, 8), Rng.of(3)), images(g=5).float()
    assert torch.equal(apply(x, draw)[[3, 1]], apply(x[[3, 1]], draw.rows([3, 1])))


def test_same_op_shares_the_operation_and_not_its_parameters():
    draw = Augment("scale_rotate").draw(50, (3, 8, 8), Rng.of(0), same_op=True)
    on = [step for step in draw.steps if step.on.any()]
    assert len(on) == 1 and on[0].on.all() and len(on[0].value.unique()) > 40


@pytest.mark.parametrize("style", ["dsa", "dc", "idc"])
def test_computed_everywhere_and_chosen_is_computed_where_due(style):
    draw, x = Augment(VICO, style).draw(40, (3, 8, 8), Rng.of(5)), images(g=40).float()
    torch.testing.assert_close(apply_everywhere(x, draw), apply(x, draw), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("drawn", [7, 1])
def test_blocks_of_groups_are_augmented_as_all_of_them(drawn, monkeypatch):
    """The last block is short; a draw of one group serves all."""
    draw, results = Augment(VICO).draw(drawn, (3, 8, 8), Rng.of(5)), []
    for blocks in (1, 3):
        monkeypatch.setattr("attar.augment.dsa.CACHED", 7 // blocks * images(g=1).numel())
        x = images(g=7).requires_grad_()
        out = apply(x, draw)
        results.append(torch.stack([out, torch.autograd.grad(out.square().sum(), x)[0]]))
    assert torch.equal(*results)


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="unknown augmentation 'swirl'"):
        Augment("color_swirl")
