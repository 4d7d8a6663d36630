"""What the methods compute, against their papers' formulas written plainly, in float64."""

import dataclasses
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from attar.training.pairs import Pairs, between
from conftest import toy

from attar.augment.dsa import apply
from attar.condensed.condensed_set import CondensedSet
from attar.condensed.store import load
from attar.distances.by_name import DISCREPANCIES
from attar.distances.characteristic import Sampler
from attar.engine.run import Run
from attar.evaluation.evaluate import evaluate
from attar.evaluation.rows import summarise
from attar.methods.distribution._views import Guide, Matching
from attar.methods.distribution.cafe import CAFE, Alignment
from attar.methods.distribution.dance import DANCE
from attar.methods.distribution.dm import DM
from attar.methods.distribution.idm import IDM
from attar.methods.distribution.ncfm import NCFM
from attar.networks.architectures import ConvNet
from attar.networks.network import Network
from attar.rng import Rng
from attar.synthesis.journal import read_metrics
from attar.synthesis.window import Window
from attar.training.pool import Pool
from attar.training.pretrained import pretrain


def gradient(terms, syn):
    syn.zero_grad()
    values = []
    for term in terms:
        term.backward()
        values.append(term.detach())
    return sum(values), syn.images.grad.clone()


@pytest.mark.parametrize("augment", ["", "color_crop_cutout_flip_scale_rotate"], ids=["cafe", "cafe+dsa"])
@pytest.mark.parametrize("chunk", [256, 4])
def test_cafe(exact, chunk, augment):
    """Layer-wise distances of class means, and real features told apart by synthetic means, as one graph; augmented class by class."""
    exact = dataclasses.replace(exact, network=Network(partial(ConvNet, exact.shape, 3, depth=3)))
    method = CAFE(updates=1, batch_real=6, augment=augment)
    alignment = Alignment.of(method, exact, 4, Run(Rng.of(0), chunk=chunk))
    w, rng = exact.network.init(Rng.of(1)), Rng.of(2)
    real = exact.sample(range(3), 6, rng.fold("real"))
    images = alignment.syn.images.detach().clone().requires_grad_()
    module = exact.network.build()
    module.load_state_dict(w.params)
    loss, logits, labels, centres, shown = 0.0, [], [], [], []
    draw = alignment.augment.draw(3, exact.shape, rng.fold("augment"))
    for c in range(3):
        s, r = (apply(x[c : c + 1], draw.rows([c]))[0] for x in (images, real))
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
    value, slope = gradient(alignment.terms(w, rng), alignment.syn)
    torch.testing.assert_close(value, loss.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(slope, images.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("layers", [None, lambda self, x: [self.body(x)], lambda self, x: [x, x], lambda self, x: 5])
def test_cafe_wants_a_network_that_shows_its_layers(task, layers):
    own = type("Own", (ConvNet,), {"layers": layers})
    other = dataclasses.replace(task, network=Network(lambda: own(task.shape, 3)))
    with pytest.raises(ValueError, match=r"Own does not show its layers|the layers that Own shows are none: Type"):
        CAFE(updates=1)(other, 1, Run(Rng.of(0)))


def test_a_window_knows_the_spread_of_its_last_values():
    window = Window(3)
    assert window.spread == 0 and not window.full
    for value in (5.0, 1.0, 2.0, 4.0):
        window.push(value)
    assert window.full and window.spread == 3.0
    window.clear()
    assert not window.full and window.spread == 0


@pytest.mark.parametrize("chunk", [256, 4])
@pytest.mark.parametrize(("features", "itself"), [("network", False), ("network", True), ("pixels", True)])
def test_a_judge_adds_its_cross_entropy_of_each_class(exact, features, itself, chunk):
    settings = DANCE(updates=1, batch_real=4, factor=1, features=features)
    matching = Matching.of(settings, exact, 3, Run(Rng.of(0), chunk=chunk), judge="itself" if itself else "another")
    plain = Matching.of(settings, exact, 3, Run(Rng.of(0), chunk=chunk))
    w, view, judge = (
        exact.network.init(Rng.of(1)),
        plain.view(Rng.of(3)),
        None if itself else exact.network.init(Rng.of(2)),
    )
    without, slope_without = gradient(plain.terms([Guide(w)], view, [None], None), plain.syn)
    value, slope = gradient(matching.terms([Guide(w, 0.7, judge)], view, [None], None), matching.syn)
    syn = matching.syn
    syn.zero_grad()
    expected = 0.0
    for c in range(3):
        scores, _ = exact.network.logits(judge or w, matching._shown([c], view))
        expected = expected + 0.7 * F.cross_entropy(scores, torch.full((3,), c))
    expected.backward()
    torch.testing.assert_close(value - without, expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(slope - slope_without, syn.images.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("judge", "passes"), [("none", 1), ("itself", 1), ("another", 2)])
def test_a_network_that_judges_what_it_sees_takes_one_pass(judge, passes, exact, monkeypatch):
    calls = []
    call = Network._call
    monkeypatch.setattr(Network, "_call", lambda self, *args: calls.append(1) or call(self, *args))
    run = Run(Rng.of(0))
    matching = Matching.of(DANCE(updates=1, batch_real=4, factor=1), exact, 2, run, judge=judge)
    guide = Guide(exact.network.init(Rng.of(1)), 0.7, exact.network.init(Rng.of(2)) if judge == "another" else None)
    gradient(matching.terms([guide], matching.view(Rng.of(3)), [None], None), matching.syn)
    assert len(calls) == 1 + passes  # one of the real images
    assert run.engines["eager"] == exact.network.flop(exact.shape) * 3 * (4 + 2 * 2 * passes)


def test_pairs_lie_between_their_ends(exact):
    start, end = (exact.network.init(Rng.of(i)) for i in range(2))
    for name, p in between(start, end, 0.25).params.items():
        torch.testing.assert_close(p, 0.75 * start.params[name] + 0.25 * end.params[name])
    pairs = Pairs([(start, start), (start, end)], 1.0)
    drawn = [pairs(Rng.of(i)) for i in range(40)]
    assert 8 < sum(guide.judge is end for guide in drawn) < 32
    low, high = (w.params["head.bias"][0].item() for w in (start, end))
    shares = [
        (guide.weights.params["head.bias"][0].item() - low) / (high - low) for guide in drawn if guide.judge is end
    ]
    assert all(0 <= share <= 1 for share in shares) and max(shares) - min(shares) > 0.5


def test_pretrained_networks_are_shared_and_announced_once(caplog):
    task = toy(seed=5)  # other tests share networks of the usual one
    first = pretrain(task, Run(Rng.of(0)), 2, 1)
    flop = 2 * 3 * len(task.train.y) * task.network.flop(task.shape)
    assert f"networks to train first: 2, epochs of each: 1 ({flop / 1e12:.3g} TFLOP)" in caplog.text
    caplog.clear()
    again = pretrain(task, Run(Rng.of(9)), 3, 1)
    assert "networks to train first: 1" in caplog.text
    for (a, b), (c, d) in zip(first, again, strict=False):
        assert torch.equal(a.params["head.weight"], c.params["head.weight"]) and torch.equal(
            b.params["head.weight"], d.params["head.weight"]
        )
        assert not torch.equal(a.params["head.weight"], b.params["head.weight"])


def test_a_queue_teaches_as_torch_does(exact):
    queue = Pool(exact.network, 2)
    for i in range(2):
        queue.push(Rng.of(i))
    module = exact.network.build()
    module.load_state_dict(queue.network_of(1).params)
    opt = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    right = 0
    for t in range(3):
        x, y = exact.sample(range(3), 4, Rng.of(t)).flatten(0, 1), torch.arange(3).repeat_interleave(4)
        scores = module(x)
        right += int((scores.argmax(1) == y).sum())
        opt.zero_grad()
        F.cross_entropy(scores, y).backward()
        opt.step()
        queue.teach(1, lambda w, x: exact.network.logits(w, x, train=True), x, y)
    for name, expected in module.named_parameters():
        torch.testing.assert_close(queue.network_of(1).params[name], expected.detach(), rtol=1e-10, atol=1e-12)
    assert queue.accuracy(1) == pytest.approx(100 * right / 36) and queue.accuracy(0) == 0


def test_the_newest_network_takes_the_oldests_place(task):
    queue = Pool(task.network, 3)
    for i in range(5):
        queue.renew(2, Rng.of(i))
        assert len(queue) == min(3, i // 2 + 1)
    kept = {float(queue.network_of(i).params["head.bias"][0]) for i in range(3)}
    assert kept == {float(task.network.init(Rng.of(i)).params["head.bias"][0]) for i in (0, 2, 4)}
    queue.renew(1, Rng.of(7))
    assert float(queue.network_of(0).params["head.bias"][0]) == float(
        task.network.init(Rng.of(7)).params["head.bias"][0]
    )
    assert queue.accuracy(0) == 0


def test_idm_weighs_mistakes_by_the_networks_accuracy_in_per_cent(task, monkeypatch):
    seen = []
    terms = Matching.terms

    def watched(self, guides, *rest):
        seen.extend((guide.weight, guide.judge) for guide in guides)
        return terms(self, guides, *rest)

    monkeypatch.setattr(Matching, "terms", watched)
    monkeypatch.setattr(Pool, "accuracy", lambda self, i: 60.0)
    IDM(updates=2, batch_real=4, factor=1, capacity=4, learners=1, steps=1, batch_train=4)(task, 1, Run(Rng.of(0)))
    assert seen == [(30.0, None), (30.0, None)]


@pytest.mark.parametrize("features", ["network", "pixels"])
@pytest.mark.parametrize("name", DISCREPANCIES)
def test_every_discrepancy_of_either_features_moves_the_images(name, features, task):
    made, start = (
        DM(updates=2, batch_real=6, lr=lr, discrepancy=name, features=features)(task, 2, Run(Rng.of(0)))
        for lr in (1.0, 0.0)
    )
    moved = (made.images - start.images).flatten(1).norm(dim=1)
    assert moved.isfinite().all() and (moved > 0).all()


def test_ncfm_is_dance_with_300_times_the_distance_of_characteristic_functions(task, tmp_path):
    settings = {"updates": 1, "models": 1, "epochs": 1, "batch_real": 6, "factor": 1, "calibration": 0.0}
    NCFM(**settings, sampler=False)(task, 2, Run(Rng.of(0), tmp_path / "ncfm"))
    DANCE(**settings, discrepancy="characteristic")(task, 2, Run(Rng.of(0), tmp_path / "dance"))
    ncfm, dance = (read_metrics(tmp_path / name)[0]["loss"] for name in ("ncfm", "dance"))
    assert ncfm == pytest.approx(300 * dance, rel=1e-5)
    NCFM(**settings, discrepancy="mean")(task, 2, Run(Rng.of(0), tmp_path / "mean"))
    DANCE(**settings)(task, 2, Run(Rng.of(0), tmp_path / "plain"))
    assert read_metrics(tmp_path / "mean")[0]["loss"] == read_metrics(tmp_path / "plain")[0]["loss"]


def test_pixels_are_their_own_features(exact):
    """With a single image and no augmentation, mean matching moves each towards the mean of its class's real batch."""
    method = DM(updates=1, features="pixels", augment="", batch_real=24, lr=0.25, momentum=0.0)
    made = method(exact, 1, Run(Rng.of(0)))
    start = dataclasses.replace(method, lr=0.0)(exact, 1, Run(Rng.of(0)))
    means = torch.stack([exact.normalise(exact.train.x[exact.train.y == c]).mean(0) for c in range(3)])
    torch.testing.assert_close(made.images, (start.images + means) / 2, rtol=1e-10, atol=1e-10)


def test_idms_networks_learn_between_updates(task, monkeypatch):
    taught, counts = [], []
    teach = Pool.teach
    monkeypatch.setattr(Pool, "teach", lambda self, i, *rest: (taught.append(i), teach(self, i, *rest))[1])
    method = IDM(updates=4, batch_real=4, factor=1, capacity=5, learners=2, steps=3, batch_train=4)
    method(task, 1, Run(Rng.of(0), progress=lambda *_: counts.append(len(taught))))
    assert counts == [0, 6, 12, 18] and all(len(set(taught[i : i + 6])) == 2 for i in (0, 6, 12))


def test_cafe_trains_on_and_begins_anew(task, monkeypatch):
    """The network is replaced once its accuracy stands still, and trained until it moves, or for `most` epochs."""
    pushed, epochs = [], []
    push, train = Pool.push, Alignment.train
    monkeypatch.setattr(Pool, "push", lambda self, rng: (pushed.append(rng.path), push(self, rng))[1])
    monkeypatch.setattr(Alignment, "train", lambda self, *rest: (epochs.append(0), train(self, *rest))[1])
    monkeypatch.setattr(Alignment, "accuracy", lambda self, w, rng: 0.5)
    CAFE(updates=5, batch_real=4, window=2, most=3)(task, 1, Run(Rng.of(0)))
    assert len(pushed) == 3 and len(epochs) == 2 * 3  # a network for two updates each, trained between them
    for seen, window, expected in (
        ([0.1, 0.9], 2, 2),
        ([0.1, 0.9], 5, 5),
        ([0.5] * 4 + [0.9], 2, 5),
        ([0.1] + [0.11] * 9, 2, 9),
    ):
        epochs.clear()
        looks = iter([0.5, *seen])  # the first look is the one after the first update
        monkeypatch.setattr(Alignment, "accuracy", lambda self, w, rng, looks=looks: next(looks))
        CAFE(updates=2, batch_real=4, window=window, most=9)(task, 1, Run(Rng.of(0)))
        assert len(epochs) == expected  # not before its window is full, and not before it has moved


@pytest.mark.parametrize("augment", ["", "color_crop_cutout_flip_scale_rotate"], ids=["cafe", "cafe+dsa"])
def test_cafe_goes_on_with_its_window(task, tmp_path, monkeypatch, augment):
    """The network is replaced after four updates; with an interruption after three, by what the window then held."""
    method, pushed, push = CAFE(updates=6, batch_real=4, window=4, most=1, outer=2.0, augment=augment), [], Pool.push
    monkeypatch.setattr(Pool, "push", lambda self, rng: (pushed.append(rng.path), push(self, rng))[1])
    whole = method(task, 1, Run(Rng.of(0))).images
    replaced = pushed[1:]
    assert len(replaced) == 1
    with pytest.raises(KeyboardInterrupt):
        method(task, 1, Run(Rng.of(0), tmp_path, progress=interrupt(4)))
    pushed.clear()
    parts = method(task, 1, Run(Rng.of(0), tmp_path)).images
    assert pushed == replaced and torch.equal(whole, parts)


def test_idm_goes_on_with_its_queue(task, tmp_path, monkeypatch):
    """Places, velocities and counts are as they were: networks are taught and one is replaced after the interruption."""
    settings = {"batch_real": 4, "factor": 1, "capacity": 4, "interval": 2, "learners": 4, "steps": 2, "batch_train": 4}
    queues, build = [], Pool.__init__
    monkeypatch.setattr(Pool, "__init__", lambda self, *rest: (queues.append(self), build(self, *rest))[1])
    IDM(updates=7, **settings)(task, 1, Run(Rng.of(0)))
    with pytest.raises(KeyboardInterrupt):
        IDM(updates=7, **settings)(task, 1, Run(Rng.of(0), tmp_path, progress=interrupt(4)))
    IDM(updates=7, **settings)(task, 1, Run(Rng.of(0), tmp_path))
    whole, _, parts = (queue.state_dict() for queue in queues)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert whole["pushed"] == 3 + 4 and (whole["tally"][:, 1] > 0).sum() == 3  # the newest has no time to learn


def interrupt(update: int):
    def progress(done, total, loss):
        if done == update:
            raise KeyboardInterrupt

    return progress


def test_ncfm_asks_its_sampler_for_frequencies_and_lets_it_climb(task, monkeypatch):
    climbed = []
    ascend = Sampler.ascend
    monkeypatch.setattr(Sampler, "ascend", lambda self: (climbed.append(1), ascend(self))[1])
    settings = {"updates": 3, "models": 1, "epochs": 1, "batch_real": 4, "frequencies": 32, "factor": 1}
    with_sampler = NCFM(**settings)(task, 1, Run(Rng.of(0)))
    assert len(climbed) == 2  # not after the last update
    without = NCFM(**settings, sampler=False)(task, 1, Run(Rng.of(0)))
    assert len(climbed) == 2 and not torch.equal(with_sampler.images, without.images)
    idle = NCFM(**settings, sampler_lr=0.0)(task, 1, Run(Rng.of(0)))
    assert not torch.equal(with_sampler.images, idle.images)


def test_ncfms_soft_labels_are_the_mean_opinion_of_its_networks(task, tmp_path):
    method = NCFM(updates=1, models=2, epochs=1, batch_real=4, frequencies=16, soft=True)
    made = method(task, 2, Run(Rng.of(0)))
    x, soft = made.as_dataset(soft=True).tensors
    pairs = pretrain(task, Run(Rng.of(0)), 2, 1)
    module, opinions = task.network.build(), []
    for _, end in pairs:
        module.load_state_dict(end.params)
        opinions.append(module(x).softmax(1))
    torch.testing.assert_close(soft, torch.stack(opinions).mean(0).detach())
    loaded = load(made.save(tmp_path / "a"))
    assert loaded.soft is not None and torch.equal(loaded.soft, soft) and loaded.bytes == made.bytes


def test_networks_learn_what_soft_labels_say(task):
    made = CondensedSet.selected(task, task.first(8))
    shifted = dataclasses.replace(made, soft=F.one_hot((made.labels + 1) % 3, 3).float())
    soft, hard = (evaluate(shifted, task, protocol="quick", seeds=1, soft=kind)[0] for kind in (True, False))
    assert hard.accuracy > 60 and soft.accuracy < 20 and (soft.soft, hard.soft) == (True, False)
    assert [cell.first.soft for cell in summarise([soft, hard])] == [True, False] and summarise([soft])[0].cells()[
        2
    ] == "given (soft labels)"
    assert soft.bytes == hard.bytes + 24 * 3 * 4
    with pytest.raises(ValueError, match="the set of given, 8 per class, has no soft labels"):
        evaluate(made, task, soft=True)


def test_soft_labels_stay_with_their_images_when_shards_are_joined():
    def shard(c: int) -> CondensedSet:
        images, labels = torch.full((2, 1, 4, 4), float(c)), torch.full((2,), c)
        soft = (
            torch.nn.functional.one_hot(labels, 3).repeat(4, 1) + torch.arange(8)[:, None] / 100
        )  # each row is known again
        return CondensedSet(images, labels, ("a", "b", "c"), (0.0,), (1.0,), factor=2, soft=soft)

    parts = [shard(c) for c in (2, 0, 1)]
    joined = CondensedSet.concat(parts)
    assert joined.soft is not None and torch.equal(joined.soft.argmax(1), joined.decoded_labels())
    for c, part in zip((2, 0, 1), parts, strict=True):
        assert torch.equal(joined.soft[joined.decoded_labels() == c], part.soft)
    with pytest.raises(ValueError, match="some of the sets have soft labels"):
        CondensedSet.concat([parts[0], dataclasses.replace(parts[1], soft=None)])
    with pytest.raises(ValueError, match="has no soft labels"):
        dataclasses.replace(parts[1], soft=None).as_dataset(soft=True)


def test_what_a_discrepancy_cannot_compare_is_refused_before_networks_are_trained(task):
    with pytest.raises(ValueError, match="at least two images of a class"):
        DANCE(discrepancy="moments", factor=1, epochs=10**6)(task, 1, Run(Rng.of(0)))


@pytest.mark.parametrize("draw, alike", [("shared", True), ("class", False)])
def test_classes_may_share_an_augmentation(draw, alike, exact):
    matching = Matching.of(DM(updates=1, batch_real=4, augment="crop", draw=draw), exact, 1, Run(Rng.of(0)))
    with torch.no_grad():
        matching.syn.images[:] = matching.syn.images[0].clone()
    shown = matching._shown(range(3), matching.view(Rng.of(1)))
    assert all(torch.equal(shown[0], other) for other in shown[1:]) == alike


def test_the_first_images_again_and_again(exact):
    first = Matching.of(DANCE(updates=1, batch_real=5, real="first", factor=1), exact, 1, Run(Rng.of(0)))
    views = [first.view(Rng.of(i)).indices for i in range(2)]
    assert torch.equal(*views) and torch.equal(views[0], exact.table[:, :5])


def test_no_class_is_asked_for_more_images_than_there_are(task):
    assert Matching.of(DANCE(updates=1, batch_real=1000, factor=1), task, 1, Run(Rng.of(0))).view(
        Rng.of(0)
    ).indices.shape == (3, 24)


def test_an_average_and_a_state_are_both_kept(task, tmp_path):
    method = IDM(updates=4, batch_real=4, factor=1, capacity=3, learners=1, steps=1, batch_train=4, average=0.5)
    with pytest.raises(KeyboardInterrupt):
        method(task, 1, Run(Rng.of(0), tmp_path, progress=interrupt(3)))
    whole, parts = (method(task, 1, Run(Rng.of(0), folder)).images for folder in (None, tmp_path))
    assert torch.equal(whole, parts)
