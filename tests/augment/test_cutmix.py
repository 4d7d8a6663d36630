import torch

from attar.augment.cutmix import Mix, edges
from attar.rng import Rng


def test_cutmix_pastes_a_box_and_counts_its_area():
    x = torch.arange(6.0)[:, None, None, None].expand(6, 1, 9, 9).contiguous()
    for seed in range(20):
        mix = Mix.draw(6, x.shape, Rng.of(seed))
        (mixed,), (partners,), (share,) = mix(x[None]), mix.partners, mix.share
        for i in range(6):
            own, other = (mixed[i] == i).sum() / 81, (mixed[i] == int(partners[i])).sum() / 81
            assert own == 1 if partners[i] == i else (abs(own - share) < 1e-6 and abs(own + other - 1) < 1e-6)


def test_cutmix_box_is_clipped():
    assert edges(32, 0.0, 0.0) == (0, 16)  # the whole side, about the corner
    assert edges(32, 0.75, 0.5) == (8, 24)
    assert edges(32, 1.0, 0.5) == (16, 16)


def test_a_batch_is_mixed_with_the_probability_asked():
    x = torch.rand(40, 5, 1, 8, 8)
    never, some, always = (
        Mix.some(5, (1, 8, 8), probability, [Rng.of(i) for i in range(40)], x.device) for probability in (0.0, 0.5, 1.0)
    )
    assert torch.equal(never(x), x) and (never.share == 1).all() and not never.box.any()
    assert 10 < some.box.flatten(1).any(1).sum() < 30 < always.box.flatten(1).any(1).sum()
    for i, rng in enumerate(Rng.of(i) for i in range(40)):  # each batch is the one that is drawn alone
        drawn = Mix.draw(5, (1, 8, 8), rng.fold("cutmix"))
        assert torch.equal(always(x)[i], drawn(x[i : i + 1])[0]) and always.share[i] == drawn.share[0]
