"""A network of one's own file."""

import importlib
import pickle
import subprocess
import sys
from hashlib import sha256

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
        (ONE.format(64, "3"), "Net gives scores of shape \\(1, 3\\) for an image, not \\(1, 2\\), one for each class"),
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


def bias(family):
    """What tells the networks of the tests below from each other."""
    return family.build().bias.numel()


def own(folder):
    return make_network(f"{folder}/own.py:Net", (1, 8, 8), 2)


LAYERED = """
from torch import nn
{}

class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.bias, self.head = nn.Parameter(make_bias()), nn.Linear(64, classes)

    def forward(self, x):
        return self.head(x.flatten(1))
"""
HELPER = "import torch\n\ndef make_bias():\n    return torch.zeros({})\n"
# How a file comes by its helper, and where that lies.
IMPORTS = {
    "beside": ("from helper import make_bias", "helper.py"),
    "as a module": ("import helper\nmake_bias = helper.make_bias", "helper.py"),
    "below": ("from parts.layers.helper import make_bias", "parts/layers/helper.py"),
    "of a package": ("from parts import make_bias", "parts/__init__.py"),
    "behind another": ("from between import make_bias", "helper.py"),
}


@pytest.mark.parametrize("how", IMPORTS)
def test_another_helper_is_another_network(how, tmp_path):
    imports, helper = IMPORTS[how]
    (tmp_path / helper).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "own.py").write_text(LAYERED.format(imports))
    (tmp_path / "between.py").write_text("from helper import make_bias")
    families = []
    for size in (3, 5, 7, 5):
        (tmp_path / helper).write_text(HELPER.format(size))
        families.append(own(tmp_path))
        assert bias(families[-1]) == size
    keys = [family.key for family in families]
    assert len(set(keys)) == 3 and keys[1] == keys[3] and len({family.name for family in families}) == 3
    assert [bias(family) for family in families] == [3, 5, 7, 5]  # an earlier one stays what it was
    assert not list(tmp_path.rglob("__pycache__"))


def test_files_of_two_folders_have_helpers_of_one_name(tmp_path):
    for folder, size in (("a", 3), ("b", 5), ("c", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text(LAYERED.format("from helper import make_bias"))
        (tmp_path / folder / "helper.py").write_text(HELPER.format(size))
    a, b, c = (own(tmp_path / folder) for folder in "abc")
    assert (bias(a), bias(b), bias(c)) == (3, 5, 3) and a.key == c.key != b.key


def test_modules_that_are_not_imported_or_not_local_are_no_part_of_a_network(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(LAYERED.format("import json, torch\nmake_bias = lambda: torch.zeros(3)"))
    before = own(tmp_path).key
    assert before.endswith(sha256((tmp_path / "own.py").read_bytes()).hexdigest())
    (tmp_path / "unrelated.py").write_text("x = 5")
    monkeypatch.syspath_prepend(tmp_path)
    unrelated = importlib.import_module("unrelated")
    (tmp_path / "own.py").write_text((tmp_path / "own.py").read_text() + "\n")
    own(tmp_path)
    assert sys.modules["unrelated"] is unrelated and unrelated.x == 5


def test_another_process_does_not_take_what_was_changed_meanwhile(tmp_path):
    (tmp_path / "own.py").write_text(LAYERED.format("from helper import make_bias"))
    (tmp_path / "helper.py").write_text(HELPER.format(3))
    (tmp_path / "built").write_bytes(pickle.dumps(own(tmp_path).build))
    code = "import pickle; print(pickle.load(open('built', 'rb'))().bias.numel())"
    for size, told in ((3, "3\n"), (5, "own.py, or a module that it imports, was changed while it was in use")):
        (tmp_path / "helper.py").write_text(HELPER.format(size))
        ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert told in ended.stdout + ended.stderr
