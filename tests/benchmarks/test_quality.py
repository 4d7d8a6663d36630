"""Cells of tables: what is there is skipped, and one that fails does not keep the others from being measured."""

import importlib
from pathlib import Path

import pytest

from attar.cli.status import tell


@pytest.fixture
def quality(tmp_path, monkeypatch):
    """The module, with cells, results and runs of its own."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    module = importlib.import_module("quality")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    cells = [module.Cell("digits", method, 1, ("quick",), "", seeds=1) for method in ("random", "dm", "herding")]
    monkeypatch.setattr(module, "CELLS", cells)
    return module


def test_a_cell_that_fails_is_named_at_the_end(quality, monkeypatch, tmp_path):
    measured = []

    def measure(cell, root, results):
        measured.append(cell.name)
        if cell.method == "dm":
            raise ValueError("it does not rain")
        quality.write_json(results / f"{cell.name}.json", {})

    monkeypatch.setattr(quality, "measure", measure)
    for count in (3, 1):  # what is there is skipped
        measured.clear()
        with pytest.raises(SystemExit, match=r"1 of 3 cells failed, .* digits-dm-ipc1, seed 0 \(it does not rain\)"):
            quality.main(tmp_path)
        assert len(measured) == count
    done, failed = tell(quality.RUNS / "cpu")
    assert done.startswith("done: 2 of 3 pieces") and failed.startswith("failed: digits-dm-ipc1")
