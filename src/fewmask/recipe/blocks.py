"""What a recipe holds: the blocks data, source, net, method, pretrain and training, with their defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SerializeAsAny, ValidationInfo, field_validator

from fewmask.errors import UserError, choices, quoted
from fewmask.methods import METHODS, PRETRAINING, ContrastConfig, Method, MethodConfig, Needs
from fewmask.models.build import NetConfig
from fewmask.settings import Settings

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class DataConfig(Settings):
    """Which images the training uses, which of their masks, and at what size."""

    root: Path
    """The dataset folder."""
    train_list: Path | None = None
    """A file of names: these images of train/ alone belong to the data set. None: all images of train/."""
    val_list: Path | None = None
    """A file of names: these images of val/ alone belong to the data set. None: all images of val/."""
    test_list: Path | None = None
    """A file of names: these images of test/ alone belong to the data set. None: all images of test/."""
    held_out: Path | None = None
    """A file of names: these labeled images of train/ are kept from the training, and take the place of val. `--folds`
    writes such files. None: val is what val/ holds."""
    labels: str | int | None = None
    """Which masks to use: a share such as `1/30`, a count, or a file of names. None: every mask."""
    split_seed: int = Field(0, ge=0)
    """The seed of the random draw of `labels`."""
    resize: PositiveFloat | tuple[PositiveInt, PositiveInt] | None = None
    """A factor or (height, width), to which images and masks are resized before cropping. Scores are computed at the
    full size in any case."""
    crop: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    """The side, or (height, width), of the crops. None: the size of the largest image, but at most `largest_crop`."""
    balance: float = Field(0, ge=0, le=1)
    """The share of the labeled crops that are drawn for a class: any class that has labels, then an image that holds
    it, and a crop there. Rare classes are seen more often. The other crops are of the labeled images in turn."""
    largest_crop: PositiveInt = 512
    """The longest side of crops whose size `crop` leaves open."""
    cache: bool | None = None
    """Keep decoded images in RAM. None: only if they take less than half of the free RAM, counted once per process."""
    workers: int | None = Field(None, ge=0, le=512)
    """The number of processes that read ahead on every device. None: none with a cache, otherwise the devices of a
    machine share its cores, and each has 1 to 8."""

    @field_validator("labels", mode="before")
    @classmethod
    def _keep_share(cls, value: Any) -> Any:
        return value if value is None or type(value) is int else str(value)  # YAML reads 0.5 as a number


class SourceConfig(Settings):
    """A second, labeled domain with the same classes, whose train images the run learns from too.

    See Alonso et al., ICCV 2021, section 4.3.2.
    """

    root: Path
    """The dataset folder of the source domain."""
    train_list: Path | None = None
    """A file of names: these images of train/ alone belong to the source domain. None: all images of train/."""
    resize: PositiveFloat | tuple[PositiveInt, PositiveInt] | None = None
    """A factor or (height, width), as in data.resize. None: data.resize."""


class TrainingConfig(Settings):
    """How long to train, in what batches, with what optimizer, and on what device."""

    steps: PositiveInt = 3000
    """The number of steps of the run, all stages together."""
    labeled_batch: PositiveInt = 4
    """The number of images with masks in a batch, on each device."""
    unlabeled_batch: PositiveInt | None = None
    """The number of unlabeled images in a batch, which the method sees in one or more views. None: labeled_batch."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """The optimizer of everything that does not bring its own."""
    learning_rate: PositiveFloat | None = None
    """The learning rate at the start of the schedule. None: 5e-4 for adamw, 1e-2 for sgd."""
    encoder_rate: Annotated[float, Field(ge=0)] = 1.0
    """The encoder's learning rate as a share of learning_rate."""
    weight_decay: float | None = Field(None, ge=0)
    """The weight decay of the optimizer. None: 1e-2 for adamw, 5e-4 for sgd."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """The momentum of sgd."""
    poly_power: float = Field(0.9, ge=0)
    """The power of the schedule: the learning rate falls as (1 - step / steps) ** power."""
    seed: int = Field(0, ge=0)
    """The seed of everything that is drawn at random, except `data.labels`."""
    device: str = "auto"
    """The device: auto, cpu, cuda or mps."""
    devices: PositiveInt | None = None
    """The number of devices. None: one, or as many as torchrun or srun started. A resumed run keeps the number."""
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    """bf16: bfloat16 autocast. 16: float16 autocast with a scaled loss. auto: bf16 on GPUs that have it
    in hardware and on processors with AMX, 16 on other GPUs of NVIDIA, and 32 elsewhere."""
    capture: bool = True
    """On one GPU of NVIDIA, record the step of every phase as a CUDA graph and replay it, which saves the time between
    kernels. A step that cannot be recorded runs without, and one line says why (docs/speed.md)."""
    compile: bool = False
    """Compile the networks by torch.compile before training; the first steps of every phase then take minutes."""
    accumulate: PositiveInt = 1
    """The number of batches in a step. They run one after the other, and the step uses the mean of their gradients:
    large batches fit into little memory."""
    memory: Literal["as_set", "auto"] = "as_set"
    """auto: before the run, steps are tried, and the largest batches up to those of the recipe are taken that fit into
    the memory of the device. A step has as many of them as make up the same number of images (`accumulate`). Where not
    even the smallest batch fits, crops get smaller. The recipe of the run holds what was found."""
    clip_norm: PositiveFloat | None = None
    """The largest norm of the gradients of the recipe's optimizer; a larger norm is scaled down. None: no limit."""
    checkpoint_every: PositiveInt = 200
    """The number of steps between two checkpoints; only the newest checkpoint is kept."""
    log_every: PositiveInt = 20
    """The number of steps between two rows of metrics.csv."""
    score_every: PositiveInt | None = None
    """The number of steps between two scores on val, which go into validation.csv and validation_classes.csv. None: no
    scores, or, if `select` needs them, a score after every twentieth of the run's steps. A method with stages is scored
    only in its last stage."""
    select: Literal["last", "best_val"] = "last"
    """The result of the run: the last step, or the step with the highest mIoU on val. No step is selected on test."""
    feature_picture: bool = True
    """Draw the features of a few test images before training and after every stage, into features.png and .csv."""
    report: bool = True
    """Write report.html into the run folder at the end, if val or test has masks to score on (docs/report.md)."""

    @field_validator("precision", mode="before")
    @classmethod
    def _keep_bits(cls, value: Any) -> Any:
        return str(value)  # YAML reads 32 as a number


class Recipe(Settings):
    """Everything that a run depends on, besides the files that the recipe names."""

    data: DataConfig
    net: NetConfig = NetConfig()
    method: SerializeAsAny[MethodConfig]
    source: SourceConfig | None = None
    """The folder of a source domain, or a block of settings; half of every labeled batch comes from it."""
    pretrain: ContrastConfig | None = None
    """A stage of label-based contrast before the method; `label_contrast` stands for its defaults."""
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
        if learners != 1:
            what = f"the method {method.name} trains {learners} networks, and the contrast pre-trains one"
            raise UserError(what, "pretrain", "Leave it out, or choose another method.")
        return value

    @property
    def method_type(self) -> type[Method]:
        """The class of the method that this recipe trains with."""
        return method_named(self.method.name)

    @property
    def needs(self) -> Needs:
        """What the recipe's method needs from the run."""
        return self.method_type.needs(self.method)

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the networks of a finished run; the first is the one that the run ships."""
        return self.needs.networks


def method_named(name: str) -> type[Method]:
    """The method class with this name."""
    for method in METHODS:
        if method.name == name:
            return method
    raise UserError(
        f"there is no method {quoted(name)}", "method", f"Choose one of {choices(name, (m.name for m in METHODS))}."
    )


def make_method_config(settings: str | Mapping[str, Any]) -> MethodConfig:
    """The settings of a method, from its name or from a block with `name` and what differs from its defaults."""
    block = {"name": settings} if isinstance(settings, str) else settings
    if not isinstance(block, Mapping) or not isinstance(block.get("name"), str):
        names = ", ".join(method.name for method in METHODS)
        raise UserError(
            f"{quoted(settings)} names no method", "method", f"Write the name of one, or `name: ...`: {names}."
        )
    config = method_named(block["name"]).Config
    defaults = config.model_construct(name=block["name"])
    return config.model_validate({key: _over_default(defaults, key, value) for key, value in block.items()})


def _over_defaults(defaults: BaseModel, block: Mapping[Any, Any]) -> dict[Any, Any]:
    """The defaults with the settings of the block over them, at every depth.

    The defaults are those of this recipe, which may differ from the defaults of their type.
    """
    given = {key: _over_default(defaults, key, value) for key, value in block.items()}
    return defaults.model_dump() | given


def _over_default(defaults: BaseModel, key: Any, value: Any) -> Any:
    default = getattr(defaults, str(key), None) if key in type(defaults).model_fields else None
    return _over_defaults(default, value) if isinstance(default, BaseModel) and isinstance(value, Mapping) else value
