"""What a release says of itself in several places is one thing."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import attar

HOME = Path(__file__).parents[1]
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
PAGE = (HOME / "docs" / "releases.md").read_text()


@pytest.mark.parametrize(
    "name, pattern", [("CHANGELOG.md", r"^## (\d\S*) - (\S+)$"), ("CITATION.cff", r"^version: (\S+)\n.*: (\S+)$")]
)
def test_every_place_names_the_version_and_its_day(name, pattern):
    changes = re.search(r"^## (\d\S*) - (\d{4}-\d\d-\d\d)$", (HOME / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes and changes[1] == PROJECT["version"]
    assert re.search(pattern, (HOME / name).read_text(), re.MULTILINE).groups() == changes.groups()


def test_the_lowest_versions_are_those_that_are_allowed():
    allowed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    lowest = [line for line in (HOME / ".ci/lowest.txt").read_text().splitlines() if not line.startswith("#")]
    assert lowest == [requirement.replace(">=", "==") for requirement in allowed]


# Not of `demo` and `runs`, which users make.
PICTURES = [path for folder in ("docs", "examples", "results") for path in sorted((HOME / folder).rglob("*.png"))]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_the_licence_of_every_picture_is_named(path):
    named = re.findall(r"`(\S+\.png)`", PAGE)
    assert any(fnmatch(str(path.relative_to(HOME)), pattern) for pattern in named)


def test_types_and_all_that_is_read_travel_with_the_package():
    home = Path(attar.__file__).parent
    assert (home / "py.typed").is_file() and (home / "report/page.html.j2").is_file()
    assert list(home.glob("recipes/*/*.toml")) and list(home.glob("engine/kernels/*.cpp"))
