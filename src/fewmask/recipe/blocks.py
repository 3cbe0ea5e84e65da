"""What a recipe holds: the blocks data, source, net, method, pretrain and training, with their defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializeAsAny, ValidationInfo, field_validator

from fewmask.errors import UserError, choices
from fewmask.methods import METHODS, PRETRAINING, ContrastConfig, Method, MethodConfig, Needs
from fewmask.models.build import NetConfig
from fewmask.settings import Settings

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class DataConfig(Settings):
    """Where the images are, which masks may be used, and at what size they are trained on."""

    root: Path
    """The dataset folder."""
    train_list: Path | None = None
    """A file of names: of train/, these images alone belong to the data set."""
    val_list: Path | None = None
    """Likewise of val/."""
    test_list: Path | None = None
    """Likewise of test/."""
    labels: str | int | None = None
    """`1/30`, a count, or a file of names; None: every mask there is."""
    split_seed: int = Field(0, ge=0)
    """Which random draw of `labels`."""
    resize: PositiveFloat | tuple[PositiveInt, PositiveInt] | None = None
    """A factor or (height, width) for images and masks before cropping; scores are at the full size all the same."""
    crop: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    """Side or (height, width); None: the largest image, at most 512."""
    cache: bool | None = None
    """Keep decoded images in RAM; None: when they take less than half of what is free, once for each process."""
    workers: int | None = Field(None, ge=0)
    """Processes that read ahead; None: none with a cache, otherwise one a core, at most 8."""

    @field_validator("labels", mode="before")
    @classmethod
    def _keep_share(cls, value: Any) -> Any:
        return value if value is None or type(value) is int else str(value)  # YAML reads 0.5 as a number


class SourceConfig(Settings):
    """A second, labeled domain with the same classes to learn from (Alonso et al., section 4.3.2): its train images."""

    root: Path
    """Its folder."""
    train_list: Path | None = None
    """A file of names: of train/, these images alone."""
    resize: PositiveFloat | tuple[PositiveInt, PositiveInt] | None = None
    """As data.resize, which stands for it where it is not given."""


class TrainingConfig(Settings):
    """How long, in what batches, with what optimizer, on what device."""

    steps: PositiveInt = 3000
    labeled_batch: PositiveInt = 4
    """Images with masks in a step, on each device."""
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
    """Of sgd."""
    poly_power: float = Field(0.9, ge=0)
    """The learning rate falls as (1 - step / steps) ** power."""
    seed: int = Field(0, ge=0)
    """Of everything drawn at random but `data.labels`."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    devices: PositiveInt | None = None
    """How many; None: one, or what torchrun or srun started. A run goes on with as many as it was started with."""
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    """bf16: bfloat16 autocast; 16: float16 autocast with a scaled loss. auto: bf16 where the device has it in hardware,
    16 on other GPUs of NVIDIA, and 32 elsewhere."""
    accumulate: PositiveInt = 1
    """Batches in a step, one after the other, whose gradients add up to their mean: large batches in little memory."""
    clip_norm: PositiveFloat | None = None
    """The largest norm of the gradients of the recipe's optimizer; larger ones are scaled down to it. None: any."""
    checkpoint_every: PositiveInt = 200
    """Steps between two checkpoints; the newest one is kept."""
    log_every: PositiveInt = 20
    """Steps between two rows of metrics.csv."""
    score_every: PositiveInt | None = None
    """Score val every so many steps, into validation.csv; None: never, or, where `select` needs it, after every
    twentieth of the run's steps. Where a method has stages, only in its last one."""
    select: Literal["last", "best_val"] = "last"
    """The result: the last step, or the one with the highest mIoU on val. Nothing is ever selected on test."""
    feature_picture: bool = True
    """Draw the features of a few test images before training and after every stage, into features.png and .csv."""

    @field_validator("precision", mode="before")
    @classmethod
    def _keep_bits(cls, value: Any) -> Any:
        return str(value)  # YAML reads 32 as a number


class Recipe(Settings):
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
        return {"root": value} if isinstance(value, str | Path) else value

    @field_validator("pretrain", mode="before")
    @classmethod
    def _choose_pretraining(cls, value: Any) -> Any:
        if isinstance(value, str) and value != PRETRAINING:
            raise ValueError(f"there is only {PRETRAINING}, or a block of its settings")
        block = {} if isinstance(value, str) else value
        return _over_defaults(ContrastConfig(), block) if isinstance(block, Mapping) else block

    @field_validator("pretrain")
    @classmethod
    def _pretrains_all(cls, value: ContrastConfig | None, info: ValidationInfo) -> ContrastConfig | None:
        method = info.data.get("method")
        if value is None or method is None:
            return value
        learners = method_named(method.name).needs(method).num_learners
        if learners > 1:
            what = f"the method {method.name} trains {learners} networks, and the contrast pre-trains one"
            raise UserError(what, "pretrain", "Leave it out, or choose another method.")
        return value

    @property
    def method_type(self) -> type[Method]:
        """The class that trains by this recipe."""
        return method_named(self.method.name)

    @property
    def needs(self) -> Needs:
        """What its method asks of the run."""
        return self.method_type.needs(self.method)

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the networks that a finished run has; the first is the one it ships."""
        return self.needs.networks


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


def _over_defaults(defaults: BaseModel, block: Mapping[Any, Any]) -> dict[Any, Any]:
    """Settings over the defaults where they stand, which may differ from those of their type, at every depth."""
    given = {key: _over_default(defaults, key, value) for key, value in block.items()}
    return defaults.model_dump() | given


def _over_default(defaults: BaseModel, key: Any, value: Any) -> Any:
    default = getattr(defaults, str(key), None) if key in type(defaults).model_fields else None
    return _over_defaults(default, value) if isinstance(default, BaseModel) and isinstance(value, Mapping) else value
