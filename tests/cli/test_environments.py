"""Whatever a machine lacks and whatever is typed: a command works, or ends in one sentence."""

import importlib
import io
import os
import sys

import numpy as np
import pytest
from typed import FAST, attar_command, enter, refused, shorten_quick

brief = pytest.fixture(autouse=True)(shorten_quick)
here = pytest.fixture(enter)

CONDENSE = ["condense", "digits", "--ipc", "1", *FAST, "--out", "a"]
COMPARE = ["compare", "digits", "--methods", "random", "--ipc", "1", "--protocol", "quick", "--seeds", "1"]
M3D = ["condense", "digits", "--method", "m3d"]
NOBODY, LONG, DEEP = "~doesnotexist/a", "a" * 5000, "[" * 5000
NO_HOME = f"{NOBODY}, but there is no such home folder"
VAST = [str(10**9), "9" * 400]


def nameless(*_) -> None:
    """Who is asked for a user knows none, as in containers."""
    raise KeyError("uid not found: 1234")


@pytest.fixture
def homeless(here, monkeypatch):
    for name in ("ATTAR_CACHE", "XDG_CACHE_HOME", "HOME", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "")  # so that what is set by Attar is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", nameless)
    monkeypatch.setattr("getpass.getuser", nameless)
    (here / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(here / "temporary"))


@pytest.mark.parametrize(
    "words",
    [CONDENSE, [*COMPARE, "--out", "a"], ["condense", "digits", "--method", "cafe", "--ipc", "1", "--dry-run"]],
    ids=["condense", "compare", "plan"],
)
def test_without_a_home_and_a_user_name_all_works(words, homeless, monkeypatch, capsys):
    assert attar_command(monkeypatch, *words) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["mnist"], ["npz:~/a.npz"], ["digits", "--method", "random", "--out", "~/a"]])
def test_without_a_home_what_lies_there_is_refused(words, homeless, monkeypatch, capsys):
    told = "no MNIST in " if words == ["mnist"] else "but there is no such home folder"
    assert told in refused(monkeypatch, capsys, "condense", *words)


@pytest.mark.parametrize(
    "words",
    [
        [*CONDENSE[:-1], NOBODY],
        [*COMPARE, "--out", NOBODY],
        ["condense", "mnist", "--root", NOBODY],
        ["condense", f"npz:{NOBODY}"],
        ["condense", NOBODY],
        ["evaluate", NOBODY],
        ["report", NOBODY],
        ["check", NOBODY],
        ["demo", "--out", NOBODY],
    ],
    ids=" ".join,
)
def test_the_home_of_nobody_is_refused(words, here, monkeypatch, capsys):
    assert NO_HOME in refused(monkeypatch, capsys, *words)
    assert not list(here.iterdir())


def test_a_cache_in_the_home_of_nobody_is_refused(here, monkeypatch, capsys):
    monkeypatch.setenv("ATTAR_CACHE", NOBODY)
    assert f"ATTAR_CACHE is {NO_HOME}" in refused(monkeypatch, capsys, "condense", "mnist")


@pytest.mark.parametrize("words", [CONDENSE, [*COMPARE, "--out", "a"]], ids=["condense", "compare"])
def test_a_cache_that_is_a_file_is_done_without(words, here, monkeypatch, capsys):
    (here / "cache").touch()
    monkeypatch.setenv("ATTAR_CACHE", str(here / "cache"))
    assert attar_command(monkeypatch, *words) == 0
    assert (here / "cache").read_bytes() == b"" and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", [LONG, "a/" * 2500, "a\0b"], ids=["long", "deep", "NUL"])
@pytest.mark.parametrize(
    "words",
    [
        CONDENSE[:-1],
        [*COMPARE, "--out"],
        ["condense", "mnist", "--root"],
        ["condense"],
        ["evaluate"],
        ["report"],
        ["check"],
    ],
    ids=" ".join,
)
def test_a_name_that_no_file_may_have_is_refused(words, name, here, monkeypatch, capsys):
    assert len(refused(monkeypatch, capsys, *words, name)) < 1200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        *[([*CONDENSE[:3], size, "--method", method], "") for size in VAST for method in ("random", "m3d", "cafe")],
        *[([*COMPARE[:-1], size], "evaluation takes at most 100,000 seeds") for size in VAST],
        ([*M3D, "--set", "updates=1e30"], "updates must be of type int, not 1e+30"),
        *[
            ([*M3D, "--set", f"{key}={value}"], f"{key} is a whole number of more than 63 bits")
            for key in ("updates", "batch_real", "lr")
            for value in ("9" * 400, "-" + "9" * 400, "0x" + "f" * 5000)
        ],
        ([*M3D, "--set", f"updates={'9' * 5000}"], "updates must be of type int, not '999"),
        *[([*M3D, "--set", f"updates={brackets * 5000}"], "updates must be of type int, not ") for brackets in "[{"],
        ([*M3D, "--set", "updates=" + "{a=" * 5000], "updates must be of type int, not "),
        ([*M3D, "--set", f"init={DEEP}"], "unknown value for init "),
        ([*M3D, "--set", f"{'a.' * 5000}=1"], "unknown hyper-parameter of M3D "),
        (["condense", "digits", "--method", LONG], "unknown method "),
        (["condense", "digits\n\x1b[31m"], r"unknown data set "),
    ],
    ids=lambda words: " ".join(words)[:60] if isinstance(words, list) else "",
)
def test_what_is_far_too_much_is_refused(words, told, here, monkeypatch, capsys):
    sentence = refused(monkeypatch, capsys, *words)
    assert told in sentence and len(sentence) < 1200 and sentence.isprintable()


@pytest.mark.parametrize("number", ["1e30", "many", "1.5"])
@pytest.mark.parametrize("option", ["--seeds", "--ipc", "--draws"])
def test_what_is_no_whole_number_is_refused(option, number, here, monkeypatch, capsys):
    assert attar_command(monkeypatch, "compare", "digits", option, number) == 2
    told = capsys.readouterr().err
    assert option in told and number in told and "Traceback" not in told


@pytest.mark.parametrize(
    "place",
    [
        "attar.data.load.load_data",
        "attar.data.load.read_known",
        "attar.runs.compare.condense",
        "attar.runs.condense.decide",
        "attar.runs.condense.save",
        "attar.condensed.store.write_tensors",
        "attar.runs.compare.evaluate",
        "attar.evaluation.evaluate.run_pieces",
        "attar.evaluation.jobs.write_rows",
        "attar.cli.folders.write_report",
        "attar.report.page.write_page",
    ],
)
def test_without_memory_a_command_ends_in_a_sentence(place, here, monkeypatch, capsys):
    for module in ("attar.runs.compare", "attar.cli.folders"):  # whoever is imported first now would keep what fails
        importlib.import_module(module)

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(place, fail)
    assert attar_command(monkeypatch, *COMPARE, "--out", "a") == 1
    told = capsys.readouterr().err
    assert "attar: the memory of this machine is not enough" in told and "Traceback" not in told


class Full(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, error: OSError, end: int) -> None:
        super().__init__()
        self.error, self.end = error, end

    def write(self, text: str = "") -> int:
        raise self.error

    flush = write

    def fileno(self) -> int:
        return self.end


@pytest.mark.parametrize("words", [["list", "methods"], CONDENSE, [*COMPARE, "--out", "a"]], ids=" ".join)
@pytest.mark.parametrize(("error", "code"), [(BrokenPipeError(), 0), (OSError(28, "No space left on device"), 2)])
def test_an_output_that_takes_nothing_loses_nothing(error, code, words, here, monkeypatch, capsys):
    end = os.open(here / "stdout", os.O_CREAT | os.O_WRONLY)  # which a closed pipe's end becomes
    monkeypatch.setattr(sys, "stdout", Full(error, end))
    assert attar_command(monkeypatch, *words) == code
    os.close(end)
    assert "Traceback" not in capsys.readouterr().err
    assert words[0] == "list" or (here / "a").is_dir()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_of_few_letters_is_written_to(encoding, here, monkeypatch):
    np.savez("猫.npz", x=np.arange(40 * 64).reshape(40, 8, 8) % 251, y=np.arange(40) % 2)
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding))
    assert attar_command(monkeypatch, "compare", "npz:猫.npz", *COMPARE[2:], "--out", "a") == 0
    assert b"?" in shown.getvalue()


@pytest.mark.parametrize("error", [EOFError(), OSError(5, "Input/output error"), ValueError("closed file")])
@pytest.mark.parametrize("place", ["sys.stdin.isatty", "builtins.input"])
def test_a_question_that_nobody_can_answer_is_answered_no(place, error, here, monkeypatch, capsys):
    def fail(*_):
        raise error

    assert attar_command(monkeypatch, *CONDENSE, "--precision", "fp32") == 0
    (here / "a" / "recipe.json").unlink()  # as if it were unfinished
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(place, fail, raising=False)
    assert "precision fp32 → bf16" in refused(monkeypatch, capsys, *CONDENSE, "--precision", "bf16", "--resume")
