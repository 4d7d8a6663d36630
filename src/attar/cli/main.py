"""The command line: `attar condense | evaluate | compare | audit | report | check | status | list | cache | demo`."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from tyro.conf import Positional

from attar.arguments import resolve_home
from attar.cli.auditing import Audit
from attar.cli.caching import Cache
from attar.cli.checking import Check
from attar.cli.condensing import Condense
from attar.cli.options import Engine, Features, Source
from attar.cli.status import Status
from attar.cli.terminal import one_sentence, open_streams, terminable

if TYPE_CHECKING:
    from attar.evaluation.rows import Row


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Train fresh networks on condensed sets and test them."""

    runs: Positional[tuple[Path, ...]]
    """Folders of condensed sets."""
    data: str | None = None
    """Data set to test on; by default the one that was condensed."""
    protocol: str = "dm"
    """See `attar list protocols`."""
    seeds: int = 3
    """Networks for each set."""
    networks: tuple[str, ...] = ()
    """Several networks that judge each set, such as convnet alexnet vgg11 resnet18, with a picture beside the rows."""
    eight_bit: bool = False
    """Train on the 8-bit images instead of the exact floats."""
    soft: bool = False
    """Train on the soft labels that a method gave its images, instead of the hard ones."""
    out: Path | None = None
    """Folder for the rows; by default the folders of the sets. Networks with a row there are not trained again."""
    source: tyro.conf.OmitArgPrefixes[Source] = field(default_factory=Source)
    engine: tyro.conf.OmitArgPrefixes[Engine] = field(default_factory=Engine)

    def __call__(self) -> None:
        from attar.cli.folders import agree_on_data, draw_by_network, say_how_to_resume
        from attar.cli.progress import Progress
        from attar.cli.table import print_rows
        from attar.condensed.store import load
        from attar.evaluation.evaluate import check_networks, evaluate

        check_networks(self.source.network, self.networks)  # now: reading the data may take long
        sets = [load(run) for run in self.runs]
        task = self.source.task(self.data or agree_on_data(sets))
        kept = ", every network that is trained is kept"
        with say_how_to_resume(None, kept), Progress("evaluation") as progress:
            rows = evaluate(
                self.runs,
                task,
                protocol=self.protocol,
                seeds=self.seeds,
                networks=self.networks,
                eight_bit=self.eight_bit,
                soft=self.soft,
                out=self.out,
                progress=progress,
                **self.engine.options(),
            )
        homes = [resolve_home("out", self.out)] if self.out else [resolve_home("runs", run) for run in self.runs]
        drawn = draw_by_network(homes)
        print_rows(rows, task.classes)  # after all is written: printing may fail
        for picture in drawn:
            print(f"accuracy by network: {picture}")


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Condense by several methods and budgets, evaluate all alike, and write a report."""

    data: Positional[str]
    """A known data set, or files of your own: see `attar list datasets`."""
    methods: tuple[str, ...] = ("m3d", "dm", "random")
    ipc: tuple[int, ...] = (1, 10)
    """Images per class."""
    protocol: str = "dm"
    """See `attar list protocols`."""
    seeds: int = 3
    """Networks for each set."""
    draws: int = 1
    """Condensations for each method and budget, with seeds 0, 1, …"""
    whole: bool = False
    """Also train on the whole set."""
    out: Path | None = None
    """Folder of all results. Sets that are there already are not made again."""
    anyway: bool = False
    """Resume unfinished sets also where device, precision or compiler changed, which changes the bits."""
    source: tyro.conf.OmitArgPrefixes[Source] = field(default_factory=Source)
    features: tyro.conf.OmitArgPrefixes[Features] = field(default_factory=Features)
    engine: tyro.conf.OmitArgPrefixes[Engine] = field(default_factory=Engine)

    def __call__(self) -> "list[Row]":
        from attar.cli.folders import choose_folder, report_on, say_how_to_resume, shorten_data
        from attar.cli.progress import in_turn
        from attar.cli.table import print_rows
        from attar.evaluation.rows import REPORT
        from attar.runs.compare import compare

        self.features.check()
        name = f"{shorten_data(self.data)}-{'-'.join(self.methods)}"
        folder = resolve_home("out", self.out or choose_folder(name, resume=False))
        task = self.features.give(self.source.task(self.data))
        with say_how_to_resume(folder), in_turn() as watch:
            _, rows = compare(
                task,
                self.methods,
                self.ipc,
                out=folder,
                protocol=self.protocol,
                seeds=self.seeds,
                draws=self.draws,
                whole=self.whole,
                anyway=self.anyway,
                watch=watch,
                **self.engine.options(),
            )
        page = report_on([folder], task, folder / REPORT)
        print_rows(rows, task.classes)  # after all is written: printing may fail
        print(f"report: {page}")
        return rows


@dataclass(frozen=True)
class Demo:
    """Condense scikit-learn's digits, compare with random selection and the whole set, and write a report."""

    out: Path = Path("demo")

    def __call__(self) -> None:
        from attar.cli.table import print_gains

        # Data that needs no download, and so few methods, images and networks that it takes less than a minute.
        compare = Compare(data="digits", methods=("m3d", "random"), protocol="quick", seeds=2, whole=True, out=self.out)
        print_gains(compare())


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one self-contained page about condensed sets and their evaluations."""

    runs: Positional[tuple[Path, ...]]
    """Folders of condensed sets, or of comparisons."""
    data: str | None = None
    """Data set to compare with; by default the one that was condensed."""
    out: Path | None = None
    """The page; by default report.html in the first folder."""
    source: tyro.conf.OmitArgPrefixes[Source] = field(default_factory=Source)
    features: tyro.conf.OmitArgPrefixes[Features] = field(default_factory=Features)

    def __call__(self) -> None:
        from attar.cli.folders import agree_on_data, find_sets, report_on
        from attar.condensed.store import load
        from attar.evaluation.rows import REPORT
        from attar.report.place import check_place

        runs = [resolve_home("runs", run) for run in self.runs]
        sets = [load(folder) for folder in find_sets(runs)]
        page = resolve_home("out", self.out or runs[0] / REPORT)
        check_place(page)  # now: reading the data may take long
        self.features.check()
        task = self.features.give(self.source.task(self.data or agree_on_data(sets)))
        print(report_on(runs, task, page))


@dataclass(frozen=True)
class List:
    """List methods, data sets, networks, protocols or recipes."""

    what: Positional[Literal["methods", "datasets", "networks", "protocols", "recipes"]]
    of: Positional[tuple[str, ...]] = ()
    """After recipes: a method such as m3d, or also its data such as m3d mnist, which shows all values."""

    def __call__(self) -> None:
        from attar.cli.listing import LISTS

        if len(self.of) > (most := 2 if self.what == "recipes" else 0):
            raise ValueError(f"{self.of[most]!r} is one word too many: the longest is `attar list recipes METHOD DATA`")
        for name, about in LISTS[self.what](*self.of):
            print(f"{name:16} {about}".rstrip())


SHORT = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)  # no --no-resume beside --resume, no None typed out
DESCRIPTION = f"{sys.modules['attar'].__doc__} `attar --version` says which Attar this is."
COMMANDS: dict[str, Callable[..., Any]] = {
    "condense": Condense,
    "evaluate": Evaluate,
    "compare": Compare,
    "audit": Audit,
    "report": Report,
    "check": Check,
    "status": Status,
    "list": List,
    "cache": Cache,
    "demo": Demo,
}


def main() -> None:
    """Run the command that was typed, and end in one sentence whatever happens."""
    # Waiting threads spin for less than a millisecond, as long as it takes from one layer to the next, and then sleep.
    # To sleep at once costs a third of the speed. To spin for long costs more than half of it where something else runs
    # beside.
    if "OMP_WAIT_POLICY" not in os.environ:  # a policy of the user's, which the count would override
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # read when torch is first imported, below
    open_streams()
    with one_sentence(), terminable():
        if sys.argv[1:] == ["--version"]:
            print(f"attar {version('attar')}")
        else:
            tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="attar", description=DESCRIPTION, config=SHORT)()


if __name__ == "__main__":
    main()
