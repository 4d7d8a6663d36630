import copy
import pickle

import pytest
import torch

from attar.networks.by_name import ARCHITECTURES, make_network
from attar.rng import Rng


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="did you mean 'convnet'"):
        make_network("convnt", (1, 8, 8), 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_known_name_gives_a_score_for_each_class_and_says_who_it_is(name):
    family = make_network(name, (3, 8, 8), 4)
    assert family.scores(family.init(Rng.of(0)), torch.zeros(2, 3, 8, 8)).shape == (2, 4)
    assert family.name == ARCHITECTURES[name].__name__ and family.replayable
    assert family.key and family.key != make_network(name, (3, 8, 8), 5).key != make_network(name, (3, 9, 9), 5).key


@pytest.mark.parametrize("send", [copy.deepcopy, lambda family: pickle.loads(pickle.dumps(family))])
def test_it_can_be_sent_to_another_process(send):
    family = make_network("convnet", (3, 8, 8), 4)
    sent = send(family)
    assert sent == family and sent.key == family.key
    a, b = (each.init(Rng.of(0)).params for each in (family, sent))
    assert all(torch.equal(a[name], b[name]) for name in a)
