"""What CAFE computes, against its paper's formulas written plainly, in float64."""

import dataclasses
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from first_updates import first_update, images, interrupt, watch_passes

from attar.augment.dsa import Augment, apply
from attar.engine.run import Run
from attar.methods._views import Views
from attar.methods.distribution.cafe import CAFE
from attar.networks.architectures import ConvNet
from attar.networks.network import Network
from attar.rng import Rng
from attar.synthesis.pixels import Pixels
from attar.training.pool import Pool

DSA = "color_crop_cutout_flip_scale_rotate"
both = pytest.mark.parametrize("augment", ["", DSA], ids=["cafe", "cafe+dsa"])


@both
@pytest.mark.parametrize("chunk", [256, 4])
def test_the_loss_of_an_update(exact, chunk, augment):
    """Layer-wise distances of class means, and real features told apart by synthetic means.

    As one graph, augmented class by class (Wang et al., CVPR 2022).
    """
    exact = dataclasses.replace(exact, network=Network(partial(ConvNet, exact.shape, 3, depth=3)))
    method, rng = CAFE(updates=1, batch_real=6, augment=augment), Rng.of(0).fold("episode", 0)
    w = exact.network.init(rng.fold("network"))
    real = exact.sample(range(3), 6, rng.fold("real"))
    made = Pixels.start(exact, 4, Run(Rng.of(0)), init="noise").images.detach().clone().requires_grad_()
    module = exact.network.build()
    module.load_state_dict(w.params)
    loss, centres, shown = 0.0, [], []
    draw = Augment(augment).without_flip().draw(3, exact.shape, rng.fold("augment"))
    for c in range(3):
        s, r = (apply(x[c : c + 1], draw.rows([c]))[0] for x in (made, real))
        maps = []
        for i, block in enumerate(list(module.body)[:-1]):
            s, r = block[:-1](s), block[:-1](r)
            maps.append((0.1 if i < 2 else 1.0, s, r))
            s, r = block[-1](s), block[-1](r)
        maps += [(1.0, s, r), (1.0, s.flatten(1), r.flatten(1))]
        loss = loss + sum(weight * (a.mean(0) - b.mean(0)).square().sum() for weight, a, b in maps)
        centres.append(s.flatten(1).mean(0))
        shown.append(r.flatten(1))
    logits = torch.cat(shown) @ torch.stack(centres).T
    labels = torch.arange(3).repeat_interleave(6)
    loss = loss + 0.01 * F.cross_entropy(logits, labels, reduction="sum")
    loss.backward()
    value, gradient = first_update(method, exact, 4, chunk=chunk)
    torch.testing.assert_close(value, loss.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, made.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("layers", [None, lambda self, x: [self.body(x)], lambda self, x: [x, x], lambda self, x: 5])
def test_a_network_that_does_not_show_its_layers_is_refused(task, layers):
    own = type("Own", (ConvNet,), {"layers": layers})
    other = dataclasses.replace(task, network=Network(lambda: own(task.shape, 3)))
    with pytest.raises(ValueError, match=r"Own does not show its layers|layers\(x\) of Own gives no layers: Type"):
        CAFE(updates=1)(other, 1, Run(Rng.of(0)))


def test_it_trains_on_and_begins_anew(task):
    """The network is replaced once its accuracy stands still, and trained until it moves, or for `most` epochs."""
    still = {"outer": 2.0, "inner": 2.0}  # an accuracy does not move so far
    with watch_passes() as seen:
        CAFE(updates=5, batch_real=4, window=2, most=3, **still)(task, 1, Run(Rng.of(0)))
    learning = [one.network for one in seen if one.trains]
    asked = list(dict.fromkeys(one.network for one in seen if one.learned))
    assert len(learning) == 2 * 3  # a network for two updates each, trained between them
    assert len(set(learning)) == 6 and len(asked) == 5 and learning[::3] == asked[0:4:2]


@pytest.mark.parametrize(
    ("seen", "window", "expected"),
    [([0.1, 0.9], 2, 2), ([0.1, 0.9], 5, 5), ([0.5] * 4 + [0.9], 2, 5), ([0.1] + [0.11] * 9, 2, 9)],
)
def test_training_ends_not_before_its_window_is_full_and_not_before_it_has_moved(seen, window, expected, task):
    method, looks, run = CAFE(updates=2, batch_real=4, window=window, most=9), iter(seen), Run(Rng.of(0))
    views, pupil = Views.of(task, Pixels.start(task, 1, run), run, Augment(""), batch=4), Pool(task.network, 1)
    pupil.push(task.network.init(Rng.of(1)))
    with watch_passes() as passes:
        method.teach(pupil.at(0), views, lambda *_: next(looks), Rng.of(2))
    assert len(passes) == expected


@both
def test_it_goes_on_with_its_window(task, tmp_path, augment):
    """The network is replaced after four updates; with an interruption after three, by what the window then held."""
    method = CAFE(updates=6, batch_real=4, window=4, most=1, outer=2.0, augment=augment)
    with watch_passes() as seen:
        whole = images(method, task, 1)
    learning = [one.network for one in seen if one.trains]
    assert len(learning) == 4 and len(seen) > 4  # not before the first and the fifth update
    with pytest.raises(KeyboardInterrupt):
        images(method, task, 1, folder=tmp_path, progress=interrupt(4))
    assert torch.equal(whole, images(method, task, 1, folder=tmp_path))
