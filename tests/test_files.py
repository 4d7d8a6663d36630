"""Files are either whole or not there, and what is damaged is named."""

import ast
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import Timeout
from safetensors.torch import save_file

import attar
from attar.files import cache_folder, has_hash, read_json, read_tensors, sweep, write_json, write_tensors
from attar.locks import hold_lock


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"ATTAR_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/attar"),
        ({"HOME": "/c"}, "/c/.cache/attar"),
        ({"ATTAR_CACHE": "~/d", "HOME": "/c"}, "/c/d"),
    ],
)
def test_cache_folder(monkeypatch, variables, folder):
    for name in ("ATTAR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_without_a_home_the_cache_goes_with_the_process(tmp_path, monkeypatch, caplog):
    for name in ("ATTAR_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, "")  # so that what is set below is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as in containers, whose users have no names
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    at_exit = []
    monkeypatch.setattr("atexit.register", lambda *call, **options: at_exit.append((call, options)))
    folder = cache_folder()
    assert folder.parent == tmp_path and stat.S_IMODE(folder.stat().st_mode) == 0o700  # code is loaded from there
    assert cache_folder() == folder == Path(os.environ["ATTAR_CACHE"])
    (told,) = caplog.messages
    assert told.startswith("there is no home folder")
    (((remove, *arguments), options),) = at_exit
    remove(*arguments, **options)
    assert not folder.exists()


@pytest.mark.parametrize("variable", ["ATTAR_CACHE", "XDG_CACHE_HOME"])
def test_a_cache_in_the_home_of_nobody_is_refused(variable, monkeypatch):
    monkeypatch.delenv("ATTAR_CACHE")
    monkeypatch.setenv(variable, "~doesnotexist/x")
    with pytest.raises(ValueError, match=f"{variable} is ~doesnotexist/x, but there is no such home folder"):
        cache_folder()


def test_damaged_tensors_are_named(tmp_path):
    path = tmp_path / "some.safetensors"
    write_tensors(path, {"images": torch.rand(2, 1, 4, 4)}, {"factor": 1})
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    truncated = [whole[:n] for n in (0, 5, 8, header // 2, header, len(whole) - 1)]
    garbage = [
        b"nonsense",
        b"nonsense" * 50,
        whole[:8] + b"x" * (len(whole) - 8),
        whole.replace(b"F32", b"F33"),
        whole.replace(b": 1}", b": ?}"),
    ]
    for damaged in truncated + garbage:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"some.safetensors is damaged"):
            read_tensors(path)


def test_no_changed_byte_of_tensors_goes_unnoticed(tmp_path):
    """Another byte is refused, or is one of a header that says the same, such as a blank."""
    path = tmp_path / "some.safetensors"
    tensors = {"a": torch.arange(3.0), "b": torch.tensor(2), "c": torch.zeros(0, 4), "d": torch.ones(2).bfloat16()}
    write_tensors(path, tensors, {"done": 7})
    whole, noticed = path.read_bytes(), 0
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        try:
            read, meta = read_tensors(path)
        except ValueError as error:
            assert "some.safetensors" in str(error)
            noticed += 1
        else:
            assert meta == {"done": 7} and all(torch.equal(read[name], tensors[name]) for name in tensors)
    assert noticed > 0.95 * len(whole)


def test_tensors_without_a_hash_are_read(tmp_path):
    path = tmp_path / "earlier.safetensors"
    save_file({"x": torch.ones(2)}, path, {"attar": '{"done": 3}'})
    tensors, meta = read_tensors(path)
    assert tensors["x"].tolist() == [1, 1] and meta == {"done": 3} and not has_hash(path)
    write_tensors(path, tensors, meta)
    assert has_hash(path)
    for foreign in ("5", "[1]"):
        save_file({"x": torch.ones(2)}, path, {"attar": foreign})
        with pytest.raises(ValueError, match=r"earlier.safetensors was not written by attar"):
            read_tensors(path)


def test_text_is_utf8_whatever_the_system_says(tmp_path):
    value = {"name": "été 京", "half": "\udce9"}  # as Python reads a file's name that is no text
    code = (
        f"from pathlib import Path; from attar.files import read_json, write_json; value, path = {value!a}, "
        "Path('a.json'); write_json(path, value); assert read_json(path) == value"
    )
    command = [sys.executable, "-c", code]
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run(command, cwd=tmp_path, env=ascii_only, check=True)
    assert read_json(tmp_path / "a.json") == value and "été 京" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_every_text_file_names_its_encoding():
    for source in sorted(Path(attar.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute | ast.Name):
                name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                words = {word.arg for word in call.keywords}
                binary = any(isinstance(a, ast.Constant) and "b" in str(a.value) for a in call.args)
                others = ("Image.open", "archive.open", "os.open", "tarfile.open")
                own = name == "open" and ast.unparse(call.func) not in others
                if name in ("read_text", "NamedTemporaryFile") or (own and not binary):
                    assert words & {"encoding", None} or binary, f"{source}:{call.lineno}"
                assert name != "write_text" or isinstance(call.func, ast.Name), (
                    f"{source}:{call.lineno}: files.write_text"
                )


@pytest.mark.parametrize("value", ["[" * 5000, "1" * 5000, "\0", "{"])
def test_damaged_json_is_named(value, tmp_path):
    (tmp_path / "a.json").write_text(value)
    with pytest.raises(ValueError, match=r"a.json is damaged: not JSON"):
        read_json(tmp_path / "a.json")


def test_a_write_follows_no_link(tmp_path):
    (tmp_path / "theirs").write_text("my words")
    (tmp_path / "a.json").symlink_to(tmp_path / "theirs")
    write_json(tmp_path / "a.json", 5)
    assert (tmp_path / "theirs").read_text() == "my words" and not (tmp_path / "a.json").is_symlink()


def test_the_file_before_may_stay(tmp_path):
    path, previous = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for i in range(3):
        write_tensors(path, {"x": torch.full((), i)}, {}, previous)
    assert [read_tensors(p)[0]["x"].item() for p in (path, previous)] == [2, 1]


def test_leftovers_of_killed_writes_are_swept_and_nothing_else(tmp_path):
    ours = {"run.json", ".hidden.part", ".part", "images.1.part"}
    for name in (
        *ours,
        ".checkpoint.safetensors.123.part",
        ".run.json.7.part",
        ".run.json.0a1b2c3d.part",
        ".tmpEOQQjH",
    ):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == ours


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("system", ["posix", "windows"])
def test_a_lock_is_deleted_and_where_no_open_file_can_be_only_when_it_is_closed(system, tmp_path, monkeypatch):
    path, unlink = tmp_path / ".lock", Path.unlink

    def is_open():
        files = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return any(file.startswith(str(path)) for file in files)

    def delete(self, missing_ok=False):
        if system == "windows" and is_open():
            raise PermissionError(13, "the file is in use", str(self))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", delete)
    for _ in range(2):
        with hold_lock(path):
            assert is_open()
            with pytest.raises(Timeout), hold_lock(path, timeout=0.0):
                pass
        assert not path.exists()


def test_a_lock_that_cannot_be_deleted_does_no_harm(tmp_path, monkeypatch):
    def refuse(self, missing_ok=False):
        raise PermissionError(13, "the file is in use", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    for _ in range(2):
        with hold_lock(tmp_path / ".lock", timeout=0.0):
            pass


def test_no_module_that_a_system_lacks_is_needed(tmp_path):
    code = (
        "import sys; sys.modules |= dict.fromkeys(['resource', 'fcntl', 'pwd', 'triton'])\n"
        "import attar, attar.cli.main\n"
        "made = attar.condense('digits', method='random', ipc=1, out='run')\n"
        "print(attar.plan('digits', 'random', 1))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "memory  not known on this system" in ended.stdout
