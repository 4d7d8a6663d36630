"""Weights from files of other programs: taken as they are, or one sentence that says what does not fit."""

import pytest
import torch
from conftest import toy
from safetensors.torch import save_file

from attar.networks.by_name import make_network
from attar.networks.weight_file import read_features
from attar.rng import Rng


def state(name="convnet-bn", classes=7, seed=1):
    """Weights as a module saves them, of a network with batch statistics and perhaps other classes."""
    w = make_network(name, (1, 8, 8), classes).init(Rng.of(seed))
    return {name: tensor + 0.5 if tensor.is_floating_point() else tensor for part in w for name, tensor in part.items()}


def family():
    return toy().with_network("convnet-bn").network


FORMS = {
    "plain": lambda found: found,
    "nested": lambda found: {"epoch": 3, "state_dict": found},
    "of several GPUs": lambda found: {"model": {f"module.{name}": tensor for name, tensor in found.items()}},
    "without its head": lambda found: {n: t for n, t in found.items() if not n.startswith(family().head)},
    "without counters": lambda found: {n: t for n, t in found.items() if not n.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("form", FORMS)
def test_what_others_save_is_read(form, tmp_path):
    found, path = state(), tmp_path / "weights"
    torch.save(FORMS[form](found), path)
    w = read_features(family(), path)
    x = torch.rand(2, 1, 8, 8)
    trained = make_network("convnet-bn", (1, 8, 8), 7)
    expected = trained.features(type(w)({n: found[n] for n in w.params}, {n: found[n] for n in w.buffers}), x)
    assert torch.equal(family().features(w, x), expected)


def test_safetensors_are_known_by_their_content(tmp_path):
    save_file(state(), tmp_path / "weights.pth")
    w = read_features(family(), tmp_path / "weights.pth")
    assert torch.equal(w.params["body.0.0.weight"], state()["body.0.0.weight"])


class Code:
    """What a pickle may hold, and no file of weights should."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda f: f.pop("body.0.0.weight"), "ConvNet-BN: lacks body.0.0.weight$"),
        (lambda f: f.update(a=torch.ones(1), b=torch.ones(1)), "ConvNet-BN: has besides a and 1 more$"),
        (lambda f: f.update({"body.0.0.bias": torch.ones(3)}), r"the shape \(3,\), and not \(128,\)$"),
        (lambda f: f["body.0.0.bias"].fill_(torch.nan), "body.0.0.bias has values that are no finite numbers$"),
        (lambda f: f.update(code=Code()), "neither a safetensors file nor one of torch that holds tensors alone$"),
        (lambda f: f.clear(), "holds no weights by name$"),
        (lambda f: f.update(epoch=3), "holds no weights by name$"),
    ],
)
def test_what_does_not_fit_is_named(change, told, tmp_path, capsys):
    found, path = state(), tmp_path / "weights.pth"
    change(found)
    torch.save(found, path)
    with pytest.raises(ValueError, match=told) as error:
        read_features(family(), path)
    assert str(path) in str(error.value) and "\n" not in str(error.value) and not capsys.readouterr().out


@pytest.mark.parametrize("cut", [0, 5, 300])
def test_files_that_are_cut_short(cut, tmp_path):
    for save, told in ((save_file, "cannot be read|neither"), (torch.save, "neither")):
        path = tmp_path / "weights"
        save(state(), path)
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(ValueError, match=told) as error:
            read_features(family(), path)
        assert "\n" not in str(error.value)
