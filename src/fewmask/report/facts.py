"""What was trained on what, with which settings, and what it cost: the facts of a run without its scores."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fewmask.recipe import Recipe, changed_settings, make_recipe
from fewmask.recipe.catalog import blocks_of
from fewmask.report.entries import Entry
from fewmask.run.metrics import Metrics


class Trained(NamedTuple):
    """What a run learned from, and with which network."""

    title: str
    folder: str
    method: str
    paper: str
    data: str
    num_labeled: int
    num_unlabeled: int | None
    source: str
    network: str
    weights: str
    steps: int
    batch: str
    size: str
    seed: int


def trained(entry: Entry) -> Trained:
    """The facts of a run; raises UserError if its lists of images are damaged."""
    recipe, run = entry.recipe, entry.run
    unlabeled, source = run.unlabeled_names(), run.source_names()
    training = recipe.training
    batch = f"{training.labeled_batch} labeled"
    if recipe.needs.unlabeled:
        batch += f" + {training.unlabeled_batch or training.labeled_batch} unlabeled"
    resize = "as they are" if recipe.data.resize is None else f"resized to {_size(recipe.data.resize)}"
    crop = "" if recipe.data.crop is None else f", crops of {_size(recipe.data.crop)}"
    return Trained(
        entry.title,
        str(run.path),
        recipe.method.name,
        recipe.method_type.paper,
        str(recipe.data.root),
        len(run.labeled_names()),
        len(unlabeled) if unlabeled is not None and recipe.needs.unlabeled else None if recipe.needs.unlabeled else 0,
        "" if source is None or recipe.source is None else f"{len(source)} images of {recipe.source.root}",
        f"{recipe.net.arch} over {recipe.net.encoder}",
        Path(recipe.net.weights).name,
        training.steps,
        batch,
        resize + crop,
        training.seed,
    )


class Cost(NamedTuple):
    """What a run cost, from its journal; None where the journal does not say.

    Attributes:
        seconds: in steps, without pauses for scores and checkpoints.
        steps_per_second: the mean over the run.
        data_share: the share of the time in which the device waited for images, in percent.
        memory_gib: the peak of the GPU's memory, or of the process without a GPU.
        parameters: of the shipped network, in millions.
        file_mb: of its weights.
    """

    title: str
    seconds: float | None
    steps_per_second: float | None
    data_share: float | None
    memory_gib: float | None
    parameters: float
    file_mb: float


def cost(entry: Entry, metrics: Metrics) -> Cost:
    """The cost of a run."""
    seconds, waited, before = 0.0, 0.0, 0.0
    for row in metrics.rows:
        rate = row.get("steps_per_second", math.nan)
        if rate > 0:
            spent = (row["step"] - before) / rate
            seconds += spent
            waited += spent * row.get("data_share", 0.0)
        before = row["step"]
    net = entry.model.networks[entry.model.shipped].net
    memory = max((row["memory_gib"] for row in metrics.rows if row.get("memory_gib")), default=None)
    return Cost(
        entry.title,
        seconds or None,
        before / seconds if seconds else None,
        100 * waited / seconds if seconds else None,
        memory,
        sum(parameter.numel() for parameter in net.parameters()) / 1e6,
        entry.run.model_file(entry.model.shipped).stat().st_size / 1e6,
    )


def duration(seconds: float) -> str:
    """The time in words: `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class SettingRow(NamedTuple):
    """A setting of the recipe; `default` is None where the run has the default."""

    path: str
    value: str
    default: str | None
    meaning: str


class SettingBlock(NamedTuple):
    """The settings of a block, and those of them that differ from the defaults."""

    key: str
    rows: list[SettingRow]
    changed: list[SettingRow]


def setting_blocks(recipe: Recipe) -> list[SettingBlock]:
    """Every setting of the recipe, with its meaning and its default where they differ."""
    method = recipe.method.name
    meanings = {
        setting.text.partition("=")[0]: setting.meaning for block in blocks_of(method) for setting in block.settings
    }
    blocks: dict[str, Any] = {"data": {"root": recipe.data.root}, "method": method}
    if recipe.source is not None:
        blocks["source"] = {"root": recipe.source.root}
    if recipe.pretrain is not None:
        blocks["pretrain"] = {}
    defaults = make_recipe(blocks)
    changed = changed_settings(defaults, recipe)
    rows = [
        SettingRow(path, as_text(value), as_text(changed[path][0]) if path in changed else None, meanings.get(path, ""))
        for path, value in _flat(
            recipe.model_dump(mode="json", exclude={key for key, block in recipe if block is None})
        )
    ]
    keys = dict.fromkeys(row.path.partition(".")[0] for row in rows)
    found = []
    for key in keys:
        own = [row for row in rows if row.path.partition(".")[0] == key]
        found.append(SettingBlock(key, own, [row for row in own if row.default is not None]))
    return found


def _flat(block: dict[str, Any], prefix: str = "") -> Sequence[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in block.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def as_text(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Path):
        return str(value)
    plain = list(value) if isinstance(value, tuple | frozenset | set) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _size(value: float | int | tuple[int, int]) -> str:
    """(height, width) as width x height; a factor as percent."""
    if isinstance(value, tuple):
        return f"{value[1]} \u00d7 {value[0]}"
    return f"{100 * value:g} %" if isinstance(value, float) else f"{value} \u00d7 {value}"
