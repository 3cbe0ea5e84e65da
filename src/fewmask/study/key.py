"""The key of a trained run: everything that the run depends on, read from its recipe."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fewmask.data.partition import is_list
from fewmask.errors import UserError
from fewmask.methods import PRETRAINING
from fewmask.recipe import Recipe, changed_settings, make_recipe


class Run(NamedTuple):
    """Everything that a run depends on. Two rows with equal runs are the same row."""

    study: str
    """The name of the study; rows of one study are meant to be compared with each other."""
    data: str
    """The name of the data set."""
    source: str
    """The name of a labeled source domain; empty without a source domain."""
    labels: str
    """The number of masks: a count, a share such as 1/30, or `all`."""
    draw: str
    """The draw of these masks: the name of a list or a seed; empty if all masks are used."""
    seed: int
    """The seed of the weights, the batches and the augmentation."""
    method: str
    settings: str
    """The settings that differ from the defaults, as `--set` takes them, without those that have their own column."""
    variant: str
    """A name for what no setting says, such as code with another default."""
    steps: int
    network: str
    """The architecture and the encoder."""
    weights: str
    """The weights that the training starts from; of a file, only its name."""
    resize: str
    crop: str


def run_of(recipe: Recipe, study: str, data: str, source: str = "", variant: str = "") -> Run:
    """The key of a run by this recipe; `data` and `source` are names for its folders and lists."""
    labels, draw = _labels(recipe)
    return Run(
        study=study,
        data=data,
        source=source if recipe.source else "",
        labels=labels,
        draw=draw,
        seed=recipe.training.seed,
        method=recipe.method.name,
        settings=settings_of(recipe),
        variant=variant,
        steps=recipe.training.steps,
        network=f"{recipe.net.arch}-{recipe.net.encoder}",
        weights=Path(recipe.net.weights).name,
        resize=_size(recipe.data.resize),
        crop=_size(recipe.data.crop),
    )


_IN_OTHER_COLUMNS = {
    *("data.root", "data.train_list", "data.val_list", "data.test_list", "data.labels", "data.split_seed"),
    "data.held_out",
    *("data.resize", "data.crop", "source", "source.root", "source.train_list", "pretrain"),
    *("net.arch", "net.encoder", "net.weights", "training.steps", "training.seed"),
}
_CHANGE_NO_SCORE = {
    *("data.cache", "data.workers", "training.device", "training.checkpoint_every", "training.log_every"),
    *("training.score_every", "training.feature_picture", "training.report", "method.alarm_excess"),
}


def settings_of(recipe: Recipe) -> str:
    """Settings that differ from the method's defaults, as `key=value` texts in alphabetical order, joined by spaces."""
    blocks: dict[str, Any] = {"data": {"root": "."}, "method": recipe.method.name}
    pretrains = recipe.pretrain is not None
    if pretrains:
        blocks["pretrain"] = PRETRAINING
    changed = changed_settings(make_recipe(blocks), recipe)
    texts = sorted(f"{key}={_as_text(new)}" for key, (_, new) in changed.items() if _tells_apart(key, new))
    return " ".join([f"pretrain={PRETRAINING}", *texts] if pretrains else texts)


def _tells_apart(key: str, value: Any) -> bool:
    of_source = key == "source.resize" and value is None
    return key not in _IN_OTHER_COLUMNS | _CHANGE_NO_SCORE and not of_source


def _labels(recipe: Recipe) -> tuple[str, str]:
    labels = recipe.data.labels
    if labels in (None, "all"):
        return "all", ""
    if is_list(labels):
        path = Path(str(labels))
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except OSError as error:
            raise UserError(f"the list cannot be read ({error.strerror})", path, "Name a list of images.") from None
        return str(sum(bool(line.strip()) and not line.startswith("#") for line in lines)), path.stem
    return str(labels), str(recipe.data.split_seed)


def _size(value: Any) -> str:
    """(176, 240) becomes 176x240, a single number becomes its text, and None becomes empty."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)


def _as_text(value: Any) -> str:
    """The value as YAML without spaces, because a shell would cut it at a space."""
    plain = sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip().replace(", ", ",")
