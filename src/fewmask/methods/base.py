"""The interface of a method: what a published method defines, apart from how it is run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import field_validator
from torch import nn

from fewmask.methods.course import Course
from fewmask.methods.groups import Group
from fewmask.models.build import NetConfig, build_net
from fewmask.models.segnet import SegNet
from fewmask.settings import Settings

SourceUse = Literal["optional", "required", "never", "alone"]


class MethodConfig(Settings):
    """The settings of a method; the defaults are its paper's. The method's `name` is stated here alone."""

    name: str
    """Name of the method that has these settings."""

    @field_validator("name")
    @classmethod
    def _is_its_own(cls, value: str) -> str:
        if value != cls.model_fields["name"].default:
            raise ValueError(f"these are the settings of {cls.model_fields['name'].default}")
        return value

    def with_weights(self, change: Callable[[str], str]) -> "MethodConfig":
        """The settings with `change` applied to every path of pretrained weights; most methods have no such path."""
        return self


class Needs(NamedTuple):
    """What a method asks of a run, known from its settings before anything is built.

    Attributes:
        unlabeled: whether batches hold unlabeled images.
        min_unlabeled_batch: the fewest unlabeled images in a batch; 2 if images are pasted into each other.
        source: when batches hold images of a source domain: if the recipe has one (`optional`), always (`required`),
            never (`never`), or always and without images of the target (`alone`).
        networks: the names of the networks that can be scored; the first is shipped.
        num_learners: how many networks learn to segment; 0 if the method trains none.
        without_unlabeled: what a person without unlabeled images can do instead.
        held_out: whether a sixth of the labeled images is kept from learning; every batch then has a crop of them.
    """

    unlabeled: bool = True
    min_unlabeled_batch: int = 1
    source: SourceUse = "optional"
    networks: tuple[str, ...] = ("student",)
    num_learners: int = 1
    without_unlabeled: str = "use --method supervised"
    held_out: bool = False


class Alarm(NamedTuple):
    """A curve with a value per class that is watched while a run trains.

    A class that leaves [low, high] for several lines in a row raises the alarm. The sentence `below` or `above` has
    places for `{name}` and `{value}`.
    """

    curve: str
    low: float
    high: float
    below: str
    above: str


@dataclass(frozen=True)
class Tools:
    """What a method is built from, besides its own settings."""

    net: NetConfig
    num_classes: int
    num_labeled: int
    num_unlabeled: int
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """The recipe's optimizer, on which the shares of learning rates may depend."""
    background: int | None = None
    """The class that is named background, if there is one."""
    accumulate: int = 1
    """The number of batches of a step. A memory that fades from step to step fades by a part of it with every batch."""

    def build_net(self) -> SegNet:
        """A freshly initialized network; the same seed gives the same network."""
        return build_net(self.net, self.num_classes)


class Method(Course):
    """A training method over one batch at a time.

    A subclass names its paper, declares its settings and its needs, builds what it trains in `__init__`, and implements
    `step` and `student`. A method has the name of its settings.

    Attributes:
        baseline: the name of the method that it is compared with; None for a baseline.
        own: settings that its paper has where a comparison gives every method the same: the weights of the classes and
            the views of labeled images. They are written as in a recipe.
        toy: settings for tests, with which ten steps on tiny images go through all that the method does.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    baseline: ClassVar[str | None] = "supervised"
    own: ClassVar[dict[str, Any]] = {}
    toy: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "Config" in cls.__dict__:
            cls.name = cls.Config.model_fields["name"].default
            cls.baseline = cls.__dict__.get("baseline", Method.baseline)  # these are not inherited
            cls.own = cls.__dict__.get("own", {})
            cls.toy = cls.__dict__.get("toy", {})

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self.tools = tools

    @classmethod
    def needs(cls, config: Any) -> Needs:
        """What the method with these settings asks of a run."""
        return Needs()

    @classmethod
    def fitted(cls, config: Any, net: SegNet) -> SegNet:
        """The network that is scored, made of the recipe's network; most methods score the latter.

        A finished run is loaded into this network, so it has the parameters and buffers of those in `networks`.
        """
        return net

    @classmethod
    def advantage(cls, config: Any) -> str:
        """What the method has and its baseline lacks, in words for a person."""
        return "the unlabeled images" if cls.needs(config).unlabeled else cls.name

    def encoders(self) -> list[nn.Parameter]:
        """The parameters of the encoders that train; a method with two networks has two."""
        return self.student.parameter_groups()["encoder"]

    def special_groups(self) -> list[Group]:
        """Groups of parameters that learn in another way than the encoder and the rest."""
        return []

    def parameter_groups(self) -> list[Group]:
        """Every parameter that trains, once: the encoders, the special groups, and the rest."""
        groups = [Group("encoder", self.encoders()), *self.special_groups()]
        known = {id(parameter) for group in groups for parameter in group.parameters}
        rest = [parameter for parameter in self.parameters() if parameter.requires_grad and id(parameter) not in known]
        return [*groups, Group("new", rest)]

    def alarms(self) -> list[Alarm]:
        """The curves to watch while a run trains."""
        return []

    def replicated_buffers(self) -> list[str]:
        """Names of buffers that every rank keeps equal by itself, so that no rank has to send them to the others."""
        return []
