"""Words for a reader: sizes, durations, errors in a line, names made visible or cut, "did you mean"."""

import difflib
import unicodedata
from collections.abc import Iterable


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One sentence with the known names, the nearest first."""
    known = list(known)
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)  # below the usual 0.6: short names share few letters
    hint = f", did you mean {near[0]!r}?" if near else ";"
    return f"unknown {kind} {name!r}{hint} known: {', '.join(known)}"


def in_a_line(error: BaseException) -> str:
    """What another's code raised, in a line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]  # the name, as some errors say nothing else


def cut(text: str, most: int = 1000) -> str:
    """The beginning and the end of what is longer: a name in it may have thousands of letters."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def make_visible(text: str) -> str:
    """Control characters, what turns the order of writing, and halves of characters are shown as their code."""
    return "".join(c.encode("unicode_escape").decode() if is_control(c) else c for c in text)


def is_control(character: str) -> bool:
    # Other characters of format (Cf) join letters, as names in some languages and emoji need it.
    turns = character in "\u061c\u200e\u200f" or "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    return turns or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def size(count: int) -> str:
    """Bytes for a reader: 31.4 kB."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if round(value, 1) < 1000:  # as it is shown: 999,960 bytes are 1.0 MB, not 1000.0 kB
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def budget(ipc: int | None, images: int, generator: bool = False) -> str:
    """How many images a set has, for a reader: `10 per class`, or all of them where the method found the number.

    A generator gives as many as are asked of it: `generator, 10 per class`.
    """
    told = f"{images:,} images" if ipc is None else f"{ipc} per class"
    return f"generator, {told}" if generator else told


def duration(seconds: float) -> str:
    """Seconds for a reader: 0.4 s, 52 s, 3 min 5 s, 2 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)  # before the unit is chosen: 59.7 s are 1 min, not 60 s
    if whole < 60:
        return f"{whole} s"
    parts = (
        ((whole // 60, "min"), (whole % 60, "s"))
        if whole < 3600
        else ((whole // 3600, "h"), (whole % 3600 // 60, "min"))
    )
    return " ".join(f"{number} {unit}" for number, unit in parts if number)
