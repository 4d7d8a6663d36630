"""Where a page may be written: never over anything that is not a report."""

from pathlib import Path

from attar.files import check_writable, write_text

MARKER = '<p class="kicker">Attar report</p>'  # on every page, also those that earlier versions wrote
BEGINNING = 100_000  # bytes in which it is looked for


def check_place(path: Path) -> None:
    """Raises `ValueError` where something other than a report lies there, or the folder cannot be written to."""
    try:
        if path.is_symlink():
            raise ValueError(f"{path} is a link: name the file of the report itself")
        if path.is_dir():
            raise ValueError(f"{path} is a folder: name a file for the report")
        if path.exists() and not is_report(path):
            raise ValueError(f"{path} was not written by attar, and is not replaced: name a new file")
    except OSError as error:
        raise ValueError(f"the report cannot be written to {path}: {error.strerror}") from None
    check_writable(path.parent)


def is_report(path: Path) -> bool:
    if not path.is_file():  # a device or a pipe, which are not even looked into
        return False
    with path.open("rb") as file:
        return MARKER.encode() in file.read(BEGINNING)


def write_page(path: Path, text: str) -> None:
    """Raises `OSError` that names the file where the system does not let it be written."""
    try:
        write_text(path, text)
    except OSError as error:
        raise OSError(f"the report cannot be written to {path}: {error.strerror}") from None
