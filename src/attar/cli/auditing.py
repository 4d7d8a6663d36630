"""The command `attar audit`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from tyro.conf import Positional, UseAppendAction

from attar.arguments import resolve_home
from attar.cli.options import Engine, Features, Source

if TYPE_CHECKING:
    from attar.evaluation.audits.frame import Audit as AnyAudit


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Measure what else condensed sets are worth, with random images and the whole set beside them."""

    runs: Positional[tuple[Path, ...]]
    """Folders of condensed sets, or of comparisons."""
    data: str | None = None
    """Data set to audit on; by default the one that was condensed."""
    robust: bool = False
    """Attack networks trained on the sets, and show them corrupted images."""
    adversarial: bool = False
    """Train the networks against attacks; with --robust."""
    fair: str | None = None
    """Compare groups of images: the column or array of their labels, `folder` for folders within those of the classes,
    or `colour` for the known sets made for this."""
    private: bool = False
    """Find out whether the sets tell which images they were made from."""
    distribution: bool = False
    """Compare how synthetic and real images are distributed."""
    consistency: bool = False
    """Rank many sets of equal size by each discrepancy and by their test loss."""
    set: UseAppendAction[tuple[str, ...]] = ()
    """A setting of an audit, as AUDIT.key=value, such as robust.images=200; may be repeated."""
    protocol: str = "dm"
    """See `attar list protocols`."""
    seeds: int = 3
    """Networks for each set."""
    out: Path | None = None
    """Folder of all that is found; by default the folders of the sets."""
    source: tyro.conf.OmitArgPrefixes[Source] = field(default_factory=Source)
    features: tyro.conf.OmitArgPrefixes[Features] = field(default_factory=Features)
    engine: tyro.conf.OmitArgPrefixes[Engine] = field(default_factory=Engine)

    def __call__(self) -> None:
        from attar.cli.folders import agree_on_data, find_sets, say_how_to_resume
        from attar.cli.progress import Progress
        from attar.cli.table import print_measures
        from attar.condensed.store import load
        from attar.runs.audit import audit

        audits = self.audits()
        self.features.check()
        runs = find_sets([resolve_home("runs", run) for run in self.runs])
        data = self.data or agree_on_data([load(run) for run in runs])
        task = self.features.give(self.source.task(data, self.fair))
        with say_how_to_resume(None, ", every finished piece is kept"), Progress("audit") as progress:
            measures = audit(
                runs,
                task,
                protocol=self.protocol,
                seeds=self.seeds,
                out=self.out,
                progress=progress,
                **audits,
                **self.engine.options(),
            )
        print_measures(measures)  # after all is written: printing may fail

    def audits(self) -> "dict[str, AnyAudit]":
        """Those that are asked for, with their settings. Raises `ValueError` for settings of others."""
        from attar.runs.audit import AUDITS, make_audit
        from attar.runs.recipe import parse_setting
        from attar.wording import unknown

        settings: dict[str, dict[str, Any]] = {name: {} for name in AUDITS if getattr(self, name)}
        for setting in self.set:
            key, value = parse_setting(setting)
            name, _, field = key.partition(".")
            if name not in settings:
                raise ValueError(unknown("audit that is asked for", name, settings))
            settings[name][field] = value
        if self.adversarial:
            if not self.robust:
                raise ValueError("--adversarial is how networks are trained that --robust attacks: ask for both")
            settings["robust"]["adversarial"] = True
        return {name: make_audit(name, own) for name, own in settings.items()}
