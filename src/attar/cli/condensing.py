"""The command `attar condense`."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional, UseAppendAction, arg

from attar.arguments import resolve_home
from attar.cli.options import Engine, Features, Source
from attar.cli.terminal import confirm

if TYPE_CHECKING:
    from attar.data.task import Task


@dataclass(frozen=True, kw_only=True)
class Condense:
    """Condense a data set to a few images per class."""

    data: Positional[str]
    """A known data set, or files of your own: see `attar list datasets`."""
    method: str | None = None
    """See `attar list methods`; by default the one that did best on the most similar known data."""
    ipc: int | None = None
    """Images per class, by default 10; not for a method that decides their number."""
    out: Path | None = None
    """Folder of the result; by default a new one under runs/."""
    dry_run: bool = False
    """Only say what the run would cost: work, time, memory, disk."""
    resume: bool = False
    """Go on with an interrupted run."""
    overwrite: bool = False
    """Replace what the folder holds."""
    seed: int = 0
    """Number that everything random depends on."""
    set: UseAppendAction[tuple[str, ...]] = ()
    """A hyper-parameter of the method, as key=value; may be repeated."""
    recipe: Annotated[str | None, arg(name="as")] = None
    """Use the recipe of this known data set."""
    published: bool = False
    """Take the paper's settings instead of the recipe's faster ones; most call for a GPU."""
    minutes: float | None = None
    """Make as many updates as fit into this time."""
    generator: str | None = None
    """A generator of your own whose codes gan-latents learns, as file.py:Name."""
    generator_weights: Path | None = None
    """The file of its weights: safetensors, or of torch.save."""
    anyway: bool = False
    """Resume also where device, precision or compiler changed, which changes the bits."""
    source: tyro.conf.OmitArgPrefixes[Source] = field(default_factory=Source)
    features: tyro.conf.OmitArgPrefixes[Features] = field(default_factory=Features)
    engine: tyro.conf.OmitArgPrefixes[Engine] = field(default_factory=Engine)

    def __call__(self) -> None:
        # Imported by the command that runs: torch takes seconds, and `attar --help` needs none of it.
        from attar.cli.folders import choose_folder, say_how_to_resume, shorten_data
        from attar.cli.progress import Progress
        from attar.condensed.card import tell_certificate
        from attar.methods import find
        from attar.runs.condense import check_request, condense, looks_at_features, plan, takes_generator
        from attar.runs.default_method import choose
        from attar.runs.recipe import check_settings, parse_setting, settle_budget
        from attar.runs.run_folder import OtherEngine, name_run
        from attar.wording import size

        method, recipe, given = self.method, self.recipe, dict(map(parse_setting, self.set))
        check_request(method, given, self.minutes)  # now: reading the data may take long
        self.features.check()
        if self.generator is None and self.generator_weights is not None:
            raise ValueError("--generator-weights is of a generator: say which with --generator")
        ipc = settle_budget(method, self.ipc)
        task = self.give_generator(self.features.give(self.source.task(self.data)))
        if not method:  # chosen here, as the folder is named after it
            method, recipe = choose(task, ipc, recipe)
        if task.encoder and not looks_at_features(find(method)):
            raise ValueError(f"{method} looks at no encoder: selections such as herding and k-means do")
        if task.generator and not takes_generator(find(method)):
            raise ValueError(f"{method} takes no generator: gan-latents learns codes of one")
        settings = check_settings(find(method), given)  # again: a method that was chosen is known only now
        name = f"{shorten_data(self.data)}-{name_run(method, ipc, self.seed)}"
        folder = resolve_home("out", self.out or choose_folder(name, self.resume))
        if self.dry_run:
            named: dict[str, Any] = {"recipe": recipe, "published": self.published, "minutes": self.minutes}
            print(plan(task, method, ipc, seed=self.seed, **named, **self.engine.options(), **settings))
            return
        try:
            with say_how_to_resume(folder), Progress(f"{method} on {task.name}") as progress:
                made = condense(
                    task,
                    method,
                    ipc,
                    out=folder,
                    seed=self.seed,
                    recipe=recipe,
                    flip=self.source.mirrors,
                    published=self.published,
                    minutes=self.minutes,
                    resume=self.resume,
                    anyway=self.anyway,
                    overwrite=self.overwrite,
                    progress=progress,
                    **self.engine.options(),
                    **settings,
                )
        except OtherEngine as error:
            if not confirm(f"{error}. Go on?"):
                raise
            return replace(self, anyway=True)()
        eight_bit = f" (8 bit: {size(made.bytes['eight_bit'])})" if made.columns is None else ""
        print(f"{len(made.labels)} {made.called}s, {size(made.bytes['stored'])}{eight_bit}, in {folder}/")
        if told := tell_certificate(made):
            print(told)

    def give_generator(self, task: "Task") -> "Task":
        """The task with this generator, if there is one. Raises `ValueError` where it does not fit the images."""
        return task if self.generator is None else task.with_generator(self.generator, self.generator_weights)
