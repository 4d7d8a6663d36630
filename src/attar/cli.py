"""The command line: `attar condense | evaluate | compare | report | list | demo`."""

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, UseAppendAction, arg

if TYPE_CHECKING:
    from attar.artefact import CondensedSet
    from attar.rows import Row
    from attar.task import Task


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the data comes from, and what trains on it."""

    root: Path | None = None
    """Folder of the data set's files; nothing is written there, but for what --download fetches."""
    download: bool = False
    """Fetch a known data set that is not there."""
    network: str = "convnet"
    """A known network, or file.py:Name for one's own."""

    def task(self, data: str) -> "Task":
        from attar.data import load_data

        return load_data(data, root=self.root, download=self.download, network=self.network)


@dataclass(frozen=True, kw_only=True)
class Engine:
    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """Of the networks; auto is bf16 where the hardware multiplies in it."""
    compile: Literal["auto", "on", "off"] = "auto"
    """auto compiles when the work would take over a minute without."""

    def options(self) -> dict[str, Any]:
        import torch

        from attar.run import default_precision

        try:
            device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device)
        except RuntimeError:
            raise ValueError(f"unknown device {self.device!r}; known: auto, cpu, cuda") from None
        if device.type not in ("cpu", "cuda"):
            raise ValueError(f"unknown device {self.device!r}; known: auto, cpu, cuda")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("this machine has no CUDA device that torch can use")
        return {
            "device": device,
            "compile": self.compile,
            "precision": default_precision(device) if self.precision == "auto" else self.precision,
        }


@dataclass(frozen=True, kw_only=True)
class Condense:
    """Condense a data set to a few images per class."""

    data: Positional[str]
    """A known data set (see `attar list datasets`), or npz:PATH."""
    method: str = "m3d"
    ipc: int = 10
    """Images per class."""
    set: UseAppendAction[tuple[str, ...]] = ()
    """A hyper-parameter of the method, as key=value; may be repeated."""
    recipe: Annotated[str | None, arg(name="as")] = None
    """Use the recipe of this known data set."""
    seed: int = 0
    out: Path | None = None
    """Folder of the result; by default one under runs/, named after what is run."""
    resume: bool = False
    """Go on with an interrupted run."""
    anyway: bool = False
    """Resume also on another engine, whose bits differ."""
    overwrite: bool = False
    """Replace what the folder holds."""
    source: tyro.conf.OmitArgPrefixes[Source] = Source()
    engine: tyro.conf.OmitArgPrefixes[Engine] = Engine()

    def __call__(self) -> None:
        from attar.condensation import OtherEngine, condense
        from attar.methods import find
        from attar.progress import Progress
        from attar.recipe import parse
        from attar.rows import size

        find(self.method)
        settings = dict(map(parse, self.set))
        folder = self.out or default_folder(f"{short(self.data)}-{self.method}-ipc{self.ipc}-seed{self.seed}", self.resume)

        def go(anyway: bool) -> "CondensedSet":
            with Progress(f"{self.method} on {task.name}") as progress:
                return condense(
                    task,
                    self.method,
                    self.ipc,
                    out=folder,
                    seed=self.seed,
                    recipe=self.recipe,
                    resume=self.resume,
                    anyway=anyway,
                    overwrite=self.overwrite,
                    progress=progress,
                    **self.engine.options(),
                    **settings,
                )

        task = self.source.task(self.data)
        with resumable(folder):
            try:
                made = go(self.anyway)
            except OtherEngine as error:
                if not (sys.stdin.isatty() and input(f"{error}. Go on? [y/N] ").lower().startswith("y")):
                    raise
                made = go(True)
        print(f"{len(made.labels)} images, {size(made.bytes['stored'])} (8 bit: {size(made.bytes['eight_bit'])}), in {folder}/")


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
    eight_bit: bool = False
    """Train on the 8-bit images instead of the exact floats."""
    source: tyro.conf.OmitArgPrefixes[Source] = Source()
    engine: tyro.conf.OmitArgPrefixes[Engine] = Engine()

    def __call__(self) -> None:
        from attar.artefact import load
        from attar.evaluation import evaluate
        from attar.progress import Progress
        from attar.rows import ROWS, write_rows

        sets = [load(run) for run in self.runs]
        task = self.source.task(self.data or sole_data(sets))
        with Progress(f"training {len(sets) * self.seeds} networks") as progress:
            rows = evaluate(
                sets, task, protocol=self.protocol, seeds=self.seeds, eight_bit=self.eight_bit, progress=progress, **self.engine.options()
            )
        for i, (run, made) in enumerate(zip(self.runs, sets, strict=True)):
            own = rows[i * self.seeds : (i + 1) * self.seeds]
            write_rows(run / ROWS, own)
            for note in notes(made, own, task):
                print(f"note: {run}: {note}", file=sys.stderr)
        show(rows, task.classes)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Condense by several methods and budgets, evaluate all alike, and write a report."""

    data: Positional[str]
    """A known data set (see `attar list datasets`), or npz:PATH."""
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
    """Folder of all results. Sets that lie there already are taken as they are."""
    source: tyro.conf.OmitArgPrefixes[Source] = Source()
    engine: tyro.conf.OmitArgPrefixes[Engine] = Engine()

    def __call__(self) -> None:
        folder = self.out or default_folder(f"{short(self.data)}-{'-'.join(self.methods)}", resume=False)
        run_comparison(self, folder)


@dataclass(frozen=True)
class Demo:
    """Condense scikit-learn's digits, compare with random selection and the whole set, and write a report."""

    out: Path = Path("demo")

    def __call__(self) -> None:
        run_comparison(Compare(data="digits", methods=("m3d", "random"), ipc=(10,), protocol="quick", seeds=2, whole=True), self.out)


def run_comparison(request: Compare, folder: Path) -> None:
    from attar.comparison import compare
    from attar.progress import Progress
    from attar.rows import REPORT, ROWS, write_rows

    task = request.source.task(request.data)
    with resumable(folder), contextlib.ExitStack() as bars:

        def watch(what: str) -> Progress:
            bars.close()
            return bars.enter_context(Progress(what))

        _, rows = compare(
            task,
            request.methods,
            request.ipc,
            out=folder,
            protocol=request.protocol,
            seeds=request.seeds,
            draws=request.draws,
            whole=request.whole,
            watch=watch,
            **request.engine.options(),
        )
    write_rows(folder / ROWS, rows)
    show(rows, task.classes)
    print(f"report: {report([folder], task, folder / REPORT)}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one self-contained page about condensed sets and their evaluations."""

    runs: Positional[tuple[Path, ...]]
    """Folders of condensed sets, or of comparisons."""
    data: str | None = None
    """Data set to show beside; by default the one that was condensed."""
    out: Path | None = None
    """The page; by default report.html in the first folder."""
    source: tyro.conf.OmitArgPrefixes[Source] = Source()

    def __call__(self) -> None:
        from attar.artefact import load
        from attar.rows import REPORT

        task = self.source.task(self.data or sole_data([load(folder) for folder in artefacts(self.runs)]))
        print(report(self.runs, task, self.out or self.runs[0] / REPORT))


def report(folders: Sequence[Path], task: "Task", out: Path) -> Path:
    from attar.artefact import load
    from attar.optimise import metrics
    from attar.report import write_report
    from attar.rows import ROWS, read_rows

    found = artefacts(folders)
    rows: list[Row] = [row for folder in dict.fromkeys([*folders, *found]) if (folder / ROWS).exists() for row in read_rows(folder / ROWS)]
    unique = len({folder.name for folder in found}) == len(found)
    losses = {folder.name if unique else str(folder): [(entry["update"], entry["loss"]) for entry in metrics(folder)] for folder in found}
    return write_report(out, [load(folder) for folder in found], rows, task, losses)


def artefacts(folders: Sequence[Path]) -> list[Path]:
    """The folders themselves, or for a comparison those within. Raises `ValueError` where a folder holds nothing finished."""
    from attar.artefact import MANIFEST

    found = []
    for folder in folders:
        inside = [folder] if (folder / MANIFEST).exists() else sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
        if not inside:
            raise ValueError(f"{folder} holds no condensed set (no {MANIFEST})")
        found += inside
    return found


@dataclass(frozen=True)
class List:
    """Say what there is."""

    what: Positional[Literal["methods", "datasets", "networks", "protocols", "recipes"]]

    def __call__(self) -> None:
        from attar.listing import LISTS

        for name, about in LISTS[self.what]():
            print(f"{name:16} {about}".rstrip())


def sole_data(sets: "Sequence[CondensedSet]") -> str:
    names = {made.provenance.get("data", "") for made in sets}
    if not sets:
        raise ValueError("name the folder of at least one run")
    if len(names) != 1:
        raise ValueError(f"the sets come from different data ({', '.join(sorted(names))}): say which with --data")
    return names.pop()


def notes(made: "CondensedSet", rows: "Sequence[Row]", task: "Task") -> Iterator[str]:
    """What a reader of these rows should know: data it was not made from, an accuracy its recipe does not expect."""
    from attar.rows import summarise

    about = made.provenance
    if about.get("fingerprint") != task.fingerprint:
        yield f"this set was not made from the training images of this {task.name}"
    expect = about.get("expect") or {}
    for cell in summarise(rows) if expect.get("protocol") == rows[0].protocol else ():
        low, high = expect["accuracy"]
        if not low <= cell.mean <= high:
            yield f"{cell.mean:.1f} is outside the {low} to {high} that its recipe expects ({expect['source']}: {expect['published']})"


def short(data: str) -> str:
    """`digits` for itself, `mine` for `npz:where/mine.npz`."""
    return Path(data.removeprefix("npz:")).stem


def default_folder(name: str, resume: bool) -> Path:
    """`runs/NAME`, or `runs/NAME-2` and on where that is taken; the latest of them to resume."""
    candidates = [Path("runs") / (name if i == 1 else f"{name}-{i}") for i in range(1, 10_000)]
    first_free = next(i for i, folder in enumerate(candidates) if not folder.exists())
    return candidates[max(first_free - 1, 0) if resume else first_free]


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """After Ctrl-C, the line that goes on; everything up to the last checkpoint is saved by then."""
    try:
        yield
    except KeyboardInterrupt:
        line = [arg for arg in sys.argv[1:] if arg not in ("--resume", "--overwrite")]
        if "condense" in line:
            line += ["--resume"]
        if "--out" not in line:
            line += ["--out", str(folder)]
        print(f"\ninterrupted; go on with:\n  attar {shlex.join(line)}", file=sys.stderr)
        raise SystemExit(130) from None


MOST_CLASSES = 20  # whose accuracies are printed side by side


def show(rows: "Sequence[Row]", classes: Sequence[str]) -> None:
    """The table of accuracies, those of each class where they are few, and what all of them rest on."""
    from rich.console import Console
    from rich.table import Table

    from attar.rows import COLUMNS, summarise

    cells = summarise(rows)
    table = Table(*COLUMNS, box=None)
    for column in table.columns:
        column.justify = "left" if column.header in ("data", "method", "protocol") else "right"
    by_class = Table("accuracy by class", *classes, box=None)
    for cell in cells:
        table.add_row(*cell.cells())
        by_class.add_row(f"{cell.first.method}, {cell.first.ipc} per class", *(f"{accuracy:.1f}" for accuracy in cell.per_class))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    if len(classes) <= MOST_CLASSES:
        console.print(by_class)
    seeds, kinds = sorted({row.seed for row in rows}), sorted({f"{row.precision} on the {row.split}" for row in rows})
    console.print(f"last epoch; seeds {', '.join(map(str, seeds))}; trained in {', '.join(kinds)}", highlight=False)


COMMANDS: dict[str, Callable[..., Any]] = {
    "condense": Condense,
    "evaluate": Evaluate,
    "compare": Compare,
    "report": Report,
    "list": List,
    "demo": Demo,
}


def main() -> None:
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="attar", description=sys.modules["attar"].__doc__)
    try:
        command()
    except (ValueError, OSError) as error:
        print(f"attar: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
