"""Refuses keys of dataset.yaml that are not known, among them those that other tools write there."""

from collections.abc import Iterable
from pathlib import Path

from fewmask.errors import UserError, choices, quoted

_FOLDERS_FOUND = "Images are found by the names of folders, such as train/images."
_FOREIGN_KEYS = {
    **dict.fromkeys(("path", "train", "val", "test", "download"), _FOLDERS_FOUND),
    **dict.fromkeys(("nc", "num_classes"), "The number of classes is the number of names."),
    **dict.fromkeys(("task", "kpt_shape", "flip_idx", "channels", "roboflow"), "fewmask has no use for the rest."),
}
"""Keys of the data.yaml of detection tools, and what stands for them here."""


def check_keys(path: Path, fields: Iterable[object], known: Iterable[str]) -> None:
    """Raises UserError with all unknown keys at once, and what the keys of another tool mean here."""
    known = list(known)
    unknown = [key for key in fields if key not in known]
    if not unknown:
        return
    foreign = [key for key in unknown if key in _FOREIGN_KEYS]
    if len(foreign) == len(unknown):
        means = " ".join(dict.fromkeys(_FOREIGN_KEYS[str(key)] for key in foreign))
        fix = f"Take {'it' if len(unknown) == 1 else 'them'} out and keep `names`. {means}"
    else:
        nearest = next(key for key in unknown if key not in _FOREIGN_KEYS)
        fix = f"Keys are {choices(str(nearest), known)}."
    named = ", ".join(quoted(key) for key in unknown)
    raise UserError(f"unknown key{'s' if len(unknown) > 1 else ''} {named}", path, fix)
