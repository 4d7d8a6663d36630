"""The command `attar check`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from attar.arguments import resolve_home


@dataclass(frozen=True)
class Check:
    """Compare each file of a folder with the hash that was written with it; exit code 2 where one differs."""

    folder: Positional[Path]
    """Folder of a run, or of a comparison."""

    def __call__(self) -> None:
        from attar.condensed.store import MANIFEST, REQUEST, check_folder

        folder = resolve_home("folder", self.folder)
        inside = sorted({path.parent for name in (MANIFEST, REQUEST) for path in folder.glob(f"*/{name}")})
        alone = not inside or any((folder / name).exists() for name in (MANIFEST, REQUEST))
        harmed = 0
        for run in [folder] if alone else inside:
            for name, state in check_folder(run).items():
                harmed += state in ("damaged", "missing")
                print(f"{state:14} {run / name}")
        if harmed:
            raise ValueError(f"damaged or missing in {folder}: {harmed} {'file' if harmed == 1 else 'files'}")
