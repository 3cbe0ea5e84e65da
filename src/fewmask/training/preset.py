"""The recipe of a new training: of a folder with the default method, and with the preset that fits the device."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from fewmask.data.images import read_size
from fewmask.recipe import DataConfig, Recipe, recipe_for
from fewmask.recipe.folders import target_folder
from fewmask.recipe.presets import PRESETS, blocks_of_preset, preset_named
from fewmask.say import say
from fewmask.use.device import choose_device

_MOST_LOOKED_AT = 200  # images, of which the largest is found by their headers


def recipe_to_train(
    source: Path, changes: Mapping[str, Any], preset: str | None = None, console: Console | None = None
) -> Recipe:
    """The recipe for a dataset folder or of a recipe file, with changes by key path.

    A folder is trained with the default method unless the changes name another. A preset gives the settings that are
    named nowhere else. For a folder it is `small` where the device is a CPU, and `base` elsewhere, which has the
    defaults; a recipe file has its own settings and the defaults. A line says which method and which preset were taken,
    and how to take another.

    Raises:
        UserError: there is no such preset, or the recipe or the folder cannot be read.
    """
    recipe = recipe_for(source, changes, preset or "")
    console = console or Console(stderr=True)
    is_file = source.suffix in (".yaml", ".yml")
    if not is_file and not changes.keys() & {"method", "method.name"}:
        say(
            console,
            f"Method {recipe.method.name}, the default. --method takes another, and --baseline says what it gives.",
        )
    reason = ""
    if preset is None:
        if is_file or choose_device(recipe.training.device, "training.device") != "cpu":
            return recipe
        preset, reason = "small", ", because the device is a CPU"
        recipe = recipe_for(source, changes, preset)
    factor = _factor(recipe.data, preset)
    if factor is not None:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"resize": factor})})
    taken = _taken(recipe, preset) + ([] if factor is None else [f"data.resize={factor}"])
    others = " or ".join(f"--preset {name}" for name in PRESETS if name != preset)
    line = f"Preset {preset}{reason}: {' '.join(taken)}. A --set goes before it, and {others} takes another."
    say(console, line)
    return recipe


def _factor(data: DataConfig, preset: str) -> float | None:
    """The factor for images that are larger than the preset wants; None if they are not, or if the recipe resizes."""
    most = preset_named(preset).longest_side
    if most is None or data.resize is not None:
        return None
    longest = _longest_side(data)
    return round(most / longest, 4) if longest > most else None


def _longest_side(data: DataConfig) -> int:
    """The longest side of the images to learn from, in pixels; of many images, so many spread over all are measured."""
    folder = target_folder(data)
    images = [sample.image for sample in (*folder.train, *folder.unlabeled)]
    step = -(-len(images) // _MOST_LOOKED_AT) or 1
    return max((max(read_size(image)) for image in images[::step]), default=0)


def _taken(recipe: Recipe, preset: str) -> list[str]:
    """The settings that the recipe has from the preset, as `--set` takes them."""
    values = recipe.model_dump(mode="json")
    return [
        f"{block}.{key}={value}"
        for block, settings in blocks_of_preset(preset).items()
        for key, value in settings.items()
        if values[block][key] == value
    ]
