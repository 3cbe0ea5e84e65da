"""Finds what dataset.yaml should say for masks that it does not fit. Nothing is proposed that was not tried.

A proposal is applied to the histograms of all masks that were read. It stands only if every mask can then be read and
every class has pixels.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from fewmask.data.classes import Classes
from fewmask.data.doctor.all_masks import Masks
from fewmask.data.doctor.candidates import GUESSED_ORDERS, MEANINGS, PLACES, candidates, found_meanings, known_meanings
from fewmask.errors import UserError
from fewmask.shapes import IGNORE


class Proposal(NamedTuple):
    """What dataset.yaml should say.

    Attributes:
        reason: what the masks seem to be.
        classes: the classes after the change.
        lines: the change as an instruction.
        shares: the share of every class among the labeled pixels after it.
    """

    reason: str
    classes: Classes
    lines: str
    shares: tuple[float, ...]

    @property
    def fix(self) -> str:
        """The instruction, and what comes of it."""
        shares = zip(self.classes.names, self.shares, strict=True)
        return f"{self.lines}. The masks then hold {', '.join(f'{name} {share:.1%}' for name, share in shares)}."


def advise(classes: Classes, masks: Masks) -> Proposal | None:
    """The first change of dataset.yaml that lets every mask be read and gives every class pixels; None without one."""
    if not masks.all or (masks.pixels(classes) is None and masks.look_blended(classes)):
        return None
    return _first_that_works(classes, masks, candidates(classes, masks))


def advise_colors(classes: Classes, masks: Masks) -> Proposal | None:
    """The change to `encoding: rgb` with the colors that the masks hold, if it gives every class pixels."""
    other = (*known_meanings(classes, {}, masks), *found_meanings(classes, {}, masks))
    return _first_that_works(classes, masks, ((reason, new) for reason, new in other if new.get("encoding") == "rgb"))


def advise_channel(classes: Classes, masks: Masks, channel: str) -> Proposal | None:
    """The change that reads this channel, if it gives every class pixels."""
    place = {"channel": channel}
    other = (*known_meanings(classes, place, masks), *found_meanings(classes, place, masks))
    return _first_that_works(classes, masks, ((reason, new | place) for reason, new in other))


def _first_that_works(
    classes: Classes, masks: Masks, candidates: Iterable[tuple[str, dict[str, Any]]]
) -> Proposal | None:
    for reason, fields in candidates:
        try:
            changed = Classes(names=classes.names, **fields)
        except (UserError, ValidationError):
            continue
        pixels = masks.pixels(changed)
        if changed != classes and pixels is not None and pixels[: len(classes)].all():
            shares = pixels[: len(classes)] / pixels[: len(classes)].sum()
            lines = _lines(classes, changed, is_guessed=reason in GUESSED_ORDERS)
            return Proposal(reason, changed, lines, tuple(shares.tolist()))
    return None


def _lines(before: Classes, after: Classes, is_guessed: bool) -> str:
    """What to write into dataset.yaml and what to take out, as an instruction."""
    new = {key for key in after.model_fields_set - {"names"} if getattr(after, key) != getattr(before, key)}
    written = [f"`{key}: {_yaml(_shown(after, key))}`" for key in (*MEANINGS, *PLACES) if key in new]
    gone = [
        f"`{key}`"
        for key in (*MEANINGS, *PLACES)
        if key in before.model_fields_set - after.model_fields_set and getattr(after, key) != getattr(before, key)
    ]
    parts = [f"write {' and '.join(written)}"] if written else []
    parts += [f"take out {' and '.join(gone)}"] if gone else []
    text = " and ".join(parts) + " in dataset.yaml"
    return text[0].upper() + text[1:] + (", and see that they are in the order of the names" if is_guessed else "")


def _shown(classes: Classes, key: str) -> object:
    """The value of a key, without the 255 that is ignored in any case."""
    value = getattr(classes, key)
    return tuple(code for code in value if code != IGNORE) if key == "ignore" and classes.encoding == "index" else value


def _yaml(value: object) -> str:
    if isinstance(value, tuple):
        value = [list(entry) if isinstance(entry, tuple) else entry for entry in value]
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")
