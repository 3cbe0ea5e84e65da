"""Presets: what a training costs, in three sizes; every setting that somebody gives goes before a preset's."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fewmask.errors import UserError, choices, quoted


class Preset(NamedTuple):
    """One size of a training.

    Attributes:
        settings: settings by key path, as in `--set`.
        longest_side: images are shrunk so that the longer side of the largest has at most so many pixels. None: never.
        purpose: whom it is for, in words for a person.
    """

    settings: Mapping[str, Any]
    longest_side: int | None
    purpose: str


# The learning rate and the steps of `small` are those of benchmarks/camvid.csv, with four labeled images in a batch.
PRESETS: dict[str, Preset] = {
    "small": Preset(
        {
            "net.encoder": "mobilenetv2_100",
            "data.largest_crop": 256,
            "training.steps": 2000,
            "training.labeled_batch": 2,
            "training.learning_rate": 1e-3,
        },
        longest_side=512,
        purpose="for a machine without a GPU",
    ),
    "base": Preset(
        {  # the defaults of a recipe
            "net.encoder": "resnet50",
            "data.largest_crop": 512,
            "training.steps": 3000,
            "training.labeled_batch": 4,
        },
        longest_side=None,
        purpose="for a GPU",
    ),
    "large": Preset(
        {
            "net.encoder": "resnet101",
            "data.largest_crop": 768,
            "training.steps": 10_000,
            "training.labeled_batch": 8,
        },
        longest_side=None,
        purpose="for a GPU with much memory",
    ),
}


def preset_named(name: str) -> Preset:
    """The preset with this name; raises UserError if there is none."""
    if name not in PRESETS:
        raise UserError(f"there is no preset {quoted(name)}", "--preset", f"Choose one of {choices(name, PRESETS)}.")
    return PRESETS[name]


def blocks_of_preset(name: str) -> dict[str, dict[str, Any]]:
    """The settings of a preset in their blocks, as in a recipe; none for an empty name."""
    blocks: dict[str, dict[str, Any]] = {}
    for path, value in preset_named(name).settings.items() if name else ():
        block, _, key = path.partition(".")
        blocks.setdefault(block, {})[key] = value
    return blocks
