"""The command `attar cache`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

KINDS = {
    "decoded": "images, decoded from files",
    "measured": "means and deviations of images",
    "stages": "networks that were trained first",
    "experts": "the same with the way of their training",
    "generators": "generators that were trained first, and their critics",
    "audit": "networks and measurements of the whole set and of random images, which audits share",
    "kernels": "compiled code",
}
# Of no other ending does Attar write files there: the cache may be a folder in which a user has some too.
ENDINGS = (".safetensors", ".json", ".so")
FETCHED = {
    "data": "known sets: may be a user's own files, and so is never dropped here",
    "datasets": "sets of the Hugging Face hub, kept by its library: never dropped here",
}


@dataclass(frozen=True, kw_only=True)
class Cache:
    """List what Attar keeps to be faster, by kind and with sizes; or drop it, as all of it can be made anew."""

    drop: tuple[Literal["all", "decoded", "measured", "stages", "experts", "generators", "audit", "kernels"], ...] = ()
    """The kinds to delete."""

    def __call__(self) -> None:
        from attar.files import cache_folder
        from attar.wording import size

        folder = cache_folder()
        for kind in KINDS if "all" in self.drop else dict.fromkeys(self.drop):
            print(f"dropped {kind}: {size(drop(folder / kind))}")
        if self.drop:
            return
        print(f"{folder} (ATTAR_CACHE names another folder)")
        for kind, about in (KINDS | FETCHED).items():
            held = [file.lstat().st_size for file in list_files(folder / kind, kind in FETCHED)]
            if held or kind in KINDS:
                print(f"{kind:10} {len(held):5} files {size(sum(held)):>10}   {about}")


def list_files(folder: Path, whole: bool = False) -> Iterator[Path]:
    """The files that Attar keeps in a folder, or with `whole` all that are in it or below."""
    for file in folder.rglob("*") if whole else folder.glob("*"):
        if file.is_file() and (whole or (file.suffix in ENDINGS and not file.name.startswith("."))):
            yield file


def drop(folder: Path) -> int:
    """Delete what Attar keeps in a folder; returns the bytes. Files that are being written stay."""
    dropped = 0
    for file in list(list_files(folder)):
        dropped += file.lstat().st_size
        file.unlink(missing_ok=True)
    return dropped
