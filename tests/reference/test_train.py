"""Inner training against a plain loop of `torch.optim.SGD` (its documentation has the formula), in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attar.augment.cutmix import Mix
from attar.augment.dsa import Augment, apply
from attar.engine.run import Run
from attar.networks.architectures import ConvNet
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.training.train import SGD, batches, train

RNG = Rng.of(5)


def soft(y):
    return F.one_hot(y, 3).double().lerp(torch.full((len(y), 3), 1 / 3).double(), 0.3)


@pytest.fixture(params=["hard", "soft"])
def given(exact, request):
    """A network, its start, images and labels."""
    x, y = exact.images(torch.arange(11)), exact.train.y[:11]
    return exact.network, exact.network.init(Rng.of(1)), x, y if request.param == "hard" else soft(y)


def module_of(network, w):
    with torch.random.fork_rng(devices=[]):  # its own start is not needed
        module = network.build()
    module.load_state_dict({name: tensor.clone() for part in w for name, tensor in part.items()})
    return module.train()


def plain(given, batch, steps, optimiser, show=lambda x, y, rng: (x, [(1.0, y)])):
    """The loop as torch's users write it. `show` makes of a batch what is seen, with shares of labels.

    Gives the module, its velocities, and how many images it got right.
    """
    network, w, x, y = given
    module, right = module_of(network, w), 0
    opt = torch.optim.SGD(
        module.parameters(), lr=optimiser.lr, momentum=optimiser.momentum, weight_decay=optimiser.weight_decay
    )
    for rows, rng in batches(len(x), batch, steps, RNG):
        images, parts = show(*((x, y) if rows is None else (x[rows], y[rows])), rng)
        scores = module(images)
        labels = parts[0][1]
        right += int((scores.argmax(1) == (labels if labels.ndim == 1 else labels.argmax(1))).sum())
        opt.zero_grad()
        sum(share * F.cross_entropy(scores, own) for share, own in parts).backward()
        opt.step()
    return module, [opt.state[p].get("momentum_buffer") for p in module.parameters()], right


def assert_trained(found, expected):
    (w, state), (module, velocities, right) = found, expected
    for (name, p), velocity in zip(module.named_parameters(), velocities, strict=True):
        torch.testing.assert_close(w.params[name], p.detach(), rtol=1e-10, atol=1e-12)
        if velocity is not None:
            torch.testing.assert_close(state.velocity[name], velocity, rtol=1e-10, atol=1e-12)
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(w.buffers[name], buffer)
    assert int(state.tally[0]) == right


@pytest.mark.parametrize("batch", [None, 4, 11, 30], ids=str)
@pytest.mark.parametrize("optimiser", [SGD(), SGD(0.05, 0.0, 0.0), SGD(0.02, 0.5, 0.01)], ids=str)
def test_it_is_torchs_loop(given, batch, optimiser):
    """Momentum, weight decay, a short last batch, hard and soft labels."""
    epochs, per_epoch = 3, -(-11 // (batch or 11))
    network, w, x, y = given
    found = train(network, w, x, y, epochs=epochs, optimiser=optimiser, batch=batch, rng=RNG, run=Run(Rng.of(0)))
    assert_trained(found, plain(given, batch, epochs * per_epoch, optimiser))
    assert int(found[1].tally[1]) == epochs * 11
    assert found[1].accuracy == 100 * found[1].tally[0] / (epochs * 11)


@pytest.mark.parametrize("style", ["dsa", "dc", "idc"])
def test_augmented_and_mixed_it_is_torchs_loop(given, style):
    """Each image is augmented by itself; a batch shares the operation but in DC's style, and is mixed as a whole."""
    network, w, x, y = given
    augment = Augment("color_crop_cutout_scale_rotate", style)

    def show(x, y, rng):
        draw = augment.draw(len(x), x.shape[1:], rng, same_op=style != "dc")
        x = torch.cat([apply(x[i : i + 1, None], draw.rows([i]))[:, 0] for i in range(len(x))])
        if torch.rand((), generator=rng.fold("mix").generator()) >= 0.5:
            return x, [(1.0, y)]
        mix = Mix.draw(len(x), x.shape[1:], rng.fold("cutmix"))
        share, partners = mix.share[0], mix.partners[0]
        return torch.where(mix.box[0], x[partners], x), [(share, y), (1 - share, y[partners])]

    settings = {"augment": augment, "cutmix": 0.5, "batch": 4}
    found = train(network, w, x, y, steps=8, rng=RNG, run=Run(Rng.of(0)), **settings)
    assert_trained(found, plain(given, 4, 8, SGD(), show))


def test_running_statistics_follow(exact):
    network = Network(lambda: ConvNet(exact.shape, 3, width=8, norm="batch"))
    x, y = exact.images(torch.arange(11)), exact.train.y[:11]
    given = network, network.init(Rng.of(1)), x, y
    before = {name: buffer.clone() for name, buffer in given[1].buffers.items()}
    found = train(network, given[1], x, y, epochs=2, batch=4, rng=RNG, run=Run(Rng.of(0)))
    assert_trained(found, plain(given, 4, 6, SGD()))
    assert all(torch.equal(before[name], buffer) for name, buffer in given[1].buffers.items())


def test_each_epoch_visits_every_example_once_in_an_order_of_its_own():
    rows = [part for part, _ in batches(11, 4, 7, RNG)]
    assert [len(part) for part in rows] == [4, 4, 3, 4, 4, 3, 4]
    first, second = (torch.cat(rows[i : i + 3]) for i in (0, 3))
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(11))
    assert not torch.equal(first, second)
    assert len({rng.path for _, rng in batches(11, 4, 7, RNG)}) == 7
    assert [part for part, _ in batches(11, None, 3, RNG)] == [None] * 3


def same(a, b):
    (w, state), (v, other) = a, b
    pairs = [(w.params, v.params), (state.velocity, other.velocity)]
    assert torch.equal(state.tally, other.tally)
    assert all(torch.equal(part[name], same[name]) for part, same in pairs for name in part)


@pytest.mark.parametrize("batch", [None, 4], ids=str)
def test_a_longer_training_begins_as_a_shorter_one(given, batch):
    """What the first steps do does not depend on how many follow: the weights on the way are those of shorter runs."""
    network, w, x, y = given
    settings = {"batch": batch, "rng": RNG, "augment": Augment("crop_scale"), "cutmix": 0.5}
    runs = [train(network, w, x, y, steps=steps, run=Run(Rng.of(0)), **settings) for steps in range(8)]
    assert torch.equal(runs[0][0].params["head.weight"], w.params["head.weight"])
    seen, run = [], Run(Rng.of(0))
    engine = run.engine(network.train_logits, 0)
    run.ledger.made["announced", network.train_logits] = lambda w, x: seen.append(w.params) or engine(w, x)
    train(network, w, x, y, steps=8, run=run, **settings)
    for (shorter, _), params in zip(runs, seen, strict=True):
        assert all(torch.equal(shorter.params[name], params[name]) for name in params)


def test_two_calls_that_hand_on_their_state_are_one_longer_call(given):
    """Where each step sees all examples: else the second call has orders of its own."""
    network, w, x, y = given
    run = Run(Rng.of(0))
    whole = train(network, w, x, y, steps=7, rng=RNG, run=run)
    half, state = train(network, w, x, y, steps=3, rng=RNG, run=run)
    same(whole, train(network, half, x, y, steps=4, rng=Rng.of(9), run=run, state=state))
    forgetful, _ = train(network, half, x, y, steps=4, rng=RNG, run=run)
    assert not torch.equal(forgetful.params["head.weight"], whole[0].params["head.weight"])


def test_epochs_are_so_many_steps_and_one_of_them_is_asked_for(given):
    network, w, x, y = given
    options = {"batch": 4, "rng": RNG, "run": Run(Rng.of(0))}
    same(train(network, w, x, y, epochs=2, **options), train(network, w, x, y, steps=6, **options))
    for wrong in ({}, {"steps": 1, "epochs": 1}):
        with pytest.raises(ValueError, match="give a number of steps or of epochs: one of the two"):
            train(network, w, x, y, **wrong, **options)


def test_nothing_is_differentiated_through_and_nothing_given_is_changed(exact):
    """Neither through what learns nor through images and labels that are learned."""
    network, w = exact.network, exact.network.init(Rng.of(1))
    x, y = exact.images(torch.arange(11)).requires_grad_(), soft(exact.train.y[:11]).requires_grad_()
    params = {name: p.requires_grad_() for name, p in w.params.items()}
    before = {name: p.detach().clone() for name, p in params.items()}
    run, asked = Run(Rng.of(0)), []
    engine = run.engine(network.train_logits, 0)
    run.ledger.made["announced", network.train_logits] = lambda w, x: asked.append(x.requires_grad) or engine(w, x)
    trained, state = train(network, Weights(params, {}), x, y, steps=2, rng=RNG, run=run)
    assert asked == [False, False]
    found = [*trained.params.values(), *state.velocity.values()]
    assert not any(tensor.requires_grad for tensor in found)
    assert all(torch.equal(before[name], p) for name, p in params.items())


def test_a_module_of_any_kind_will_do(exact):
    """Such as one with dropout, which draws what the scope around it says."""
    network = Network(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Dropout(0.5), nn.Linear(16, 3)))
    given = network, network.init(Rng.of(1)), exact.images(torch.arange(11)), exact.train.y[:11]
    with Rng.of(2).scope():
        found = train(*given, steps=3, rng=RNG, run=Run(Rng.of(0)))
    with Rng.of(2).scope():
        assert_trained(found, plain(given, None, 3, SGD()))
