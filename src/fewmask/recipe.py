"""A recipe: data, net, method and training of one run; YAML in, YAML out, and one line for every mistake in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator

from fewmask.errors import UserError, choices
from fewmask.methods import METHODS, ContrastConfig, LabelContrast, Method, MethodConfig
from fewmask.models.build import NetConfig

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Block):
    """Where the images are, which masks may be used, and at what size they are trained on."""

    root: Path
    train_list: Path | None = None
    """A file of names: of train/, these images alone belong to the data set."""
    val_list: Path | None = None
    """Likewise of val/."""
    test_list: Path | None = None
    """Likewise of test/."""
    labels: str | int | None = None
    """`1/30`, a count, or a file of names; None: every mask there is."""
    split_seed: int = Field(0, ge=0)
    resize: PositiveFloat | tuple[PositiveInt, PositiveInt] | None = None
    """A factor or (height, width) for images and masks before cropping; scores are at the full size all the same."""
    crop: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    """Side or (height, width); None: the largest image, at most 512."""
    cache: bool | None = None
    """Keep decoded images in RAM; None: when they take less than half of what is free."""
    workers: int | None = Field(None, ge=0)
    """Processes that read ahead; None: none with a cache, otherwise one a core, at most 8."""

    @field_validator("labels", mode="before")
    @classmethod
    def _keep_share(cls, value: Any) -> Any:
        return value if value is None or type(value) is int else str(value)  # YAML reads 0.5 as a number


class SourceConfig(_Block):
    """A second, labeled domain with the same classes to learn from (Alonso et al., section 4.3.2): its train images."""

    root: Path
    train_list: Path | None = None
    """A file of names: of train/, these images alone."""
    resize: PositiveFloat | tuple[PositiveInt, PositiveInt] | None = None
    """As data.resize, which stands for it where it is not given."""


class TrainingConfig(_Block):
    """How long, in what batches, with what optimizer, on what device."""

    steps: PositiveInt = 3000
    labeled_batch: PositiveInt = 4
    unlabeled_batch: PositiveInt | None = None
    """Images, each seen in as many views as the method makes; None: as many as labeled ones."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: PositiveFloat | None = None
    """None: 5e-4 for adamw, 1e-2 for sgd."""
    encoder_rate: Annotated[float, Field(ge=0)] = 1.0
    """The encoder's learning rate as a share of it."""
    weight_decay: float | None = Field(None, ge=0)
    """None: 1e-2 for adamw, 5e-4 for sgd."""
    momentum: float = Field(0.9, ge=0, lt=1)
    poly_power: float = Field(0.9, ge=0)
    """The learning rate falls as (1 - step / steps) ** power."""
    seed: int = Field(0, ge=0)
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    devices: PositiveInt | None = None
    """How many; None: one, or what torchrun started."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """bf16: bfloat16 autocast; auto: where the device has it in hardware."""
    checkpoint_every: PositiveInt = 200
    log_every: PositiveInt = 20
    score_every: PositiveInt | None = None
    """Score val every so many steps, into validation.csv; None: never, or 20 times a run where `select` needs it."""
    select: Literal["last", "best_val"] = "last"
    """The result: the last step, or the one with the highest mIoU on val. Nothing is ever selected on test."""
    feature_picture: bool = True
    """Draw the features of a few test images before training and after every stage, into features.png and .csv."""
    alarm_excess: PositiveFloat = 8.0
    """Warn when a class takes this many times its labeled share among the pseudo-labels."""

    @field_validator("precision", mode="before")
    @classmethod
    def _keep_bits(cls, value: Any) -> Any:
        return str(value)  # YAML reads 32 as a number


class Recipe(_Block):
    """Everything a run is a function of, besides the files it names."""

    data: DataConfig
    net: NetConfig = NetConfig()
    method: SerializeAsAny[MethodConfig]
    source: SourceConfig | None = None
    """The folder of a source domain, or a block; half of every labeled batch comes from it."""
    pretrain: ContrastConfig | None = None
    """A stage of label-based contrast before the method; `label_contrast` for its defaults."""
    training: TrainingConfig = TrainingConfig()

    @field_validator("method", mode="before")
    @classmethod
    def _choose_method(cls, value: Any) -> MethodConfig:
        return value if isinstance(value, MethodConfig) else make_method_config(value)

    @field_validator("source", mode="before")
    @classmethod
    def _as_block(cls, value: Any) -> Any:
        return {"root": value} if isinstance(value, str) else value

    @field_validator("pretrain", mode="before")
    @classmethod
    def _choose_pretraining(cls, value: Any) -> Any:
        if isinstance(value, str) and value != LabelContrast.name:
            raise ValueError(f"there is only {LabelContrast.name}, or a block of its settings")
        block = {} if isinstance(value, str) else value
        return _over_defaults(ContrastConfig(), block) if isinstance(block, Mapping) else block

    @property
    def method_type(self) -> type[Method]:
        """The class that trains by this recipe."""
        return method_named(self.method.name)


def method_named(name: str) -> type[Method]:
    """The method of that name."""
    for method in METHODS:
        if method.name == name:
            return method
    raise UserError(
        f"there is no method {name!r}", "method", f"Choose one of {choices(name, (m.name for m in METHODS))}."
    )


def make_method_config(settings: str | Mapping[str, Any]) -> MethodConfig:
    """The settings of a method from its name, or from a block with `name` and what differs from its defaults."""
    block = {"name": settings} if isinstance(settings, str) else settings
    if not isinstance(block, Mapping) or not isinstance(block.get("name"), str):
        names = ", ".join(method.name for method in METHODS)
        raise UserError(f"{settings!r} names no method", "method", f"Write the name of one, or `name: ...`: {names}.")
    config = method_named(block["name"]).Config
    defaults = config.model_construct(name=block["name"])
    return config.model_validate({key: _over_default(defaults, key, value) for key, value in block.items()})


def recipe_for(source: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe file `source`, or the default recipe for the dataset folder `source`, with changes by key path."""
    if source.suffix in (".yaml", ".yml"):
        return read_recipe(source, changes)
    return make_recipe({"data": {"root": str(source)}, "method": "class_bank"}, changes, "settings")


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """`key.path=value` texts as a mapping; the values are read as YAML."""
    settings = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{text!r} is not a setting", "--set", "Write it as training.steps=2000.")
        try:
            settings[path.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            settings[path.strip()] = value
    return settings


def make_recipe(
    settings: Mapping[str, Any], changes: Mapping[str, Any] | None = None, source: str = "recipe"
) -> Recipe:
    """A recipe from nested settings, with changes by key path: `{"training.steps": 2000}`."""
    tree: dict[str, Any] = {
        key: dict(block) if isinstance(block, Mapping) else block for key, block in settings.items()
    }
    for path, value in (changes or {}).items():
        _apply(tree, path, value)
    try:
        if "method" in tree:
            tree["method"] = make_method_config(tree["method"])
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise _explained(error, source) from None


def read_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe file; a relative data.root is taken from where the command runs."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("there is no such recipe", path, "Give a folder of images or a recipe .yaml file.") from None
    except OSError as error:
        raise UserError(f"the recipe cannot be read ({error.strerror})", path, "Give a recipe .yaml file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"this is not YAML ({_one_line(error)})", path, "Correct it, or start from one in recipes/."
        ) from None
    if not isinstance(settings, dict):
        raise UserError("a recipe has the keys data, net, method and training", path, "Start from one in recipes/.")
    return make_recipe(settings, changes, str(path))


def recipe_yaml(recipe: Recipe) -> str:
    """The complete recipe, defaults included, as it is read back by `read_recipe`."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with roots, lists and weights by absolute paths: its run goes on and is scored from any folder."""

    def absolute(value: Any) -> Any:
        return str(Path(value).resolve()) if isinstance(value, str) and Path(value).is_file() else value

    def resolved(block: _Block) -> dict[str, Path]:
        return {key: value.resolve() for key, value in block if isinstance(value, Path)}

    data = resolved(recipe.data) | {"labels": absolute(recipe.data.labels)}
    source = recipe.source
    weights = recipe.net.weights
    is_run = (Path(weights) / "student.safetensors").is_file()
    net = {"weights": str(Path(weights).resolve()) if is_run else absolute(weights)}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "net": recipe.net.model_copy(update=net),
            "source": source and source.model_copy(update=resolved(source)),
        }
    )


def changed_settings(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """The key paths whose values differ, with both values."""
    old, new = _by_path(before.model_dump()), _by_path(after.model_dump())
    paths = [*old, *(path for path in new if path not in old)]
    return {path: (old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)}


def _by_path(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in block.items():
        flat |= _by_path(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _over_defaults(defaults: BaseModel, block: Mapping[Any, Any]) -> dict[Any, Any]:
    """Settings over the defaults where they stand, which may differ from those of their type, at every depth."""
    given = {key: _over_default(defaults, key, value) for key, value in block.items()}
    return defaults.model_dump() | given


def _over_default(defaults: BaseModel, key: Any, value: Any) -> Any:
    default = getattr(defaults, str(key), None) if key in type(defaults).model_fields else None
    return _over_defaults(default, value) if isinstance(default, BaseModel) and isinstance(value, Mapping) else value


def _apply(tree: dict[str, Any], path: str, value: Any) -> None:
    *blocks, last = path.split(".")
    block = tree
    for key in blocks:
        inner = block.get(key)
        if key == "method" and isinstance(inner, str):  # `method: class_bank` is short for a block with its name
            inner = {"name": inner}
        block[key] = dict(inner) if isinstance(inner, Mapping) else {}
        block = block[key]
    block[last] = value


def _explained(error: ValidationError, source: str) -> UserError:
    """The first mistake in one line: the key, what stands there, and the nearest that would do."""
    configs: dict[str, type[BaseModel]] = {
        Recipe.__name__: Recipe,
        **{method.Config.__name__: method.Config for method in METHODS},
    }
    config = configs[error.title]
    mistakes = error.errors()
    # a misspelt key is also a missing one: the misspelling says more
    first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
    keys, block = _located(config, first["loc"])
    place = ".".join(keys if config is Recipe else ["method", *keys])
    if first["type"] == "extra_forbidden":
        return UserError(
            f"there is no setting {place}", source, f"Known here: {choices(keys[-1], block.model_fields)}."
        )
    if first["type"] == "missing" and len(keys) == len(first["loc"]):
        return UserError(f"{place} is missing", source, "Add it, or pass it with --set.")
    reasons = {_reason(mistake) for mistake in mistakes if _located(config, mistake["loc"])[0] == keys}
    return UserError(f"{place} is {first['input']!r}: {', or '.join(sorted(reasons))}", source, "Correct this setting.")


def _located(config: type[BaseModel], location: Sequence[str | int]) -> tuple[list[str], type[BaseModel]]:
    """The keys of the recipe that lead to a mistake, without pydantic's own, and the block that holds the last one."""
    keys: list[str] = []
    holder, block = config, config
    for key in location:
        keys.append(str(key))
        holder, field = block, block.model_fields.get(str(key))
        candidates = [] if field is None else [field.annotation, *get_args(field.annotation)]
        inner = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if inner is None:  # what follows names a member of a union or a list
            break
        block = inner
    return keys, holder


def _reason(mistake: Any) -> str:
    own = {"model_type": "it should be a block of settings", "path_type": "it should be a path"}
    message = str(mistake["msg"]).partition(", unable to parse")[0]
    return own.get(mistake["type"]) or message.replace("Input should", "it should", 1)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
