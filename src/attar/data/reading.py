"""How a user wants own data to be read, in one piece for all readers."""

from dataclasses import dataclass, field

from attar.data.check import Judge
from attar.data.decoding import Decoding


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reader may ask beside the path. Options that it does not take are refused before it is called."""

    judge: Judge = "test"
    """The part that judges."""
    held_out: bool = False
    """Training images judge instead: any other part may be left alone, whatever it holds."""
    decoding: Decoding = field(default_factory=Decoding)
    """How pictures become images of one size."""
    image_column: str | None = None
    """The column of the images, where the user names it."""
    label_column: str | None = None
    """The column of the labels, where the user names it."""
    group: str | None = None
    """The column or array of the groups; `folder` for those folders that lie in a class's folder."""
    quiet: bool = False
    """No bars on a terminal."""
