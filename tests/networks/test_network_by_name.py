import copy
import pickle

import pytest
import torch

from attar.networks.by_name import ARCHITECTURES, ByName, make_network
from attar.rng import Rng


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="did you mean 'convnet'"):
        make_network("convnt", (1, 8, 8), 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_known_name_gives_a_score_for_each_class_and_says_who_it_is(name):
    family = make_network(name, (3, 32, 32), 4)
    assert family.scores(family.init(Rng.of(0)), torch.zeros(2, 3, 32, 32)).shape == (2, 4)
    assert family.replayable and family.keeps_statistics == name.endswith("-bn")
    assert family.name.replace("-", "").lower() == name.replace("-", "")
    others = [make_network(other, (3, 32, 32), 4) for other in ARCHITECTURES if other != name]
    others += [make_network(name, (3, 32, 32), 5), make_network(name, (3, 33, 33), 4)]
    assert family.key and family.key not in {other.key for other in others}


def test_what_lies_in_caches_and_rows_keeps_its_name():
    assert [(ByName(name, (3, 8, 8), 4).label, ByName(name, (3, 8, 8), 4).key) for name in ("convnet", "mlp")] == [
        ("ConvNet", "ConvNet ((3, 8, 8), 4) {}"),
        ("MLP", "MLP ((3, 8, 8), 4) {}"),
    ]


@pytest.mark.parametrize("send", [copy.deepcopy, lambda family: pickle.loads(pickle.dumps(family))])
def test_it_can_be_sent_to_another_process(send):
    family = make_network("convnet", (3, 8, 8), 4)
    sent = send(family)
    assert sent == family and sent.key == family.key
    a, b = (each.init(Rng.of(0)).params for each in (family, sent))
    assert all(torch.equal(a[name], b[name]) for name in a)
