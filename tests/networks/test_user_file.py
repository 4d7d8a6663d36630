"""A network of one's own file."""

import pytest
import torch

from attar.networks.by_name import make_network
from attar.rng import Rng

ONE = "from torch import nn\n\ndef Net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear({}, {}))\n"


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        make_network(f"{tmp_path}/net.py:Net", (1, 8, 8), 2)
    (tmp_path / "net.py").write_text("x = 1")
    with pytest.raises(ValueError, match="has no Net"):
        make_network(f"{tmp_path}/net.py:Net", (1, 8, 8), 2)
    (tmp_path / "broken.py").write_text("def Net(:")
    with pytest.raises(ValueError, match=r"broken.py does not import: SyntaxError: invalid syntax"):
        make_network(f"{tmp_path}/broken.py:Net", (1, 8, 8), 2)


@pytest.mark.parametrize(
    "code, told",
    [
        ("Net = unheard_of", "does not import: NameError: name 'unheard_of' is not defined"),
        ("raise SystemExit('bye')", "does not import: SystemExit: bye"),
        ("def Net(shape, classes): return 5", "Net of .*own.py gives no torch module, but int"),
        ("def Net(): pass", "Net of .*own.py cannot be called with \\(shape, classes\\): TypeError"),
        (
            "def Net(shape, classes): raise RuntimeError('no\\nway')",
            "cannot be called with \\(shape, classes\\): RuntimeError: no$",
        ),
        (ONE.format(20, "classes"), "Net does not take images of shape \\(1, 8, 8\\): RuntimeError: "),
        (ONE.format(64, "3"), "Net makes of an image scores of shape \\(1, 3\\), not \\(1, 2\\), one for each class"),
    ],
)
def test_a_file_that_does_not_do_is_told_in_a_sentence(code, told, tmp_path):
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(ValueError, match=told):
        make_network(f"{tmp_path}/own.py:Net", (1, 8, 8), 2)


def test_ones_own_file(tmp_path):
    (tmp_path / "own.py").write_text(ONE.format(64, "classes"))
    family = make_network(f"{tmp_path}/own.py:Net", (1, 8, 8), 2)
    assert family.logits(family.init(Rng.of(0)), torch.zeros(1, 1, 8, 8))[0].shape == (1, 2)
    assert family.key and not family.replayable and str(tmp_path) not in family.key + family.name
    (tmp_path / "own.py").write_text(ONE.format(64, "classes") + "# other code")
    other = make_network(f"{tmp_path}/own.py:Net", (1, 8, 8), 2)
    assert family.name.startswith("Net-") and family.name != other.name and family.key != other.key
