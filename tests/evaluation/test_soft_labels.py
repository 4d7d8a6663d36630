"""Sets whose labels are probabilities of the classes."""

import dataclasses

import pytest
import torch.nn.functional as F
from conftest import narrow

from attar.condensed.condensed_set import CondensedSet
from attar.evaluation.evaluate import evaluate
from attar.evaluation.rows import summarise


def test_networks_learn_what_soft_labels_say(task):
    task = narrow(task)
    made = CondensedSet.selected(task, task.first(8))
    shifted = dataclasses.replace(made, soft=F.one_hot((made.labels + 1) % 3, 3).float())
    soft, hard = (evaluate(shifted, task, protocol="quick", seeds=1, soft=kind)[0] for kind in (True, False))
    assert hard.accuracy > 60 and soft.accuracy < 20 and (soft.soft, hard.soft) == (True, False)
    assert [cell.first.soft for cell in summarise([soft, hard])] == [True, False]
    assert summarise([soft])[0].cells()[2] == "given (soft labels)"
    assert soft.bytes == hard.bytes + 24 * 3 * 4
    with pytest.raises(ValueError, match="the set of given, 8 per class, has no soft labels"):
        evaluate(made, task, soft=True)
