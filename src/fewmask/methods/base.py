"""The method plug-in: what a published method has to say, and nothing of how it is run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from fewmask.data.batch import Batch
from fewmask.data.pool import Pool
from fewmask.models.build import NetConfig, build_net
from fewmask.models.segnet import SegNet
from fewmask.settings import Settings
from fewmask.shapes import Scalar

SourceUse = Literal["optional", "required", "never", "alone"]


class MethodConfig(Settings):
    """The settings of a method; the defaults are its paper's."""

    name: str
    source_use: ClassVar[SourceUse] = "optional"
    """Whether batches hold images of a source domain: where the recipe has one, always, never, or no others."""
    num_networks: ClassVar[int] = 1
    """How many networks learn to segment."""
    without_unlabeled: ClassVar[str] = "use --method supervised"
    """What to do instead where there are no unlabeled images."""

    @property
    def uses_unlabeled(self) -> bool:
        """Whether batches hold unlabeled images."""
        return True

    def with_weights(self, change: Callable[[str], str]) -> "MethodConfig":
        """The settings with every path of pretrained weights changed; most methods have none besides the network's."""
        return self


class Now(NamedTuple):
    """Where in a stage a step is."""

    step: int
    steps: int
    stage: str = "train"

    @property
    def progress(self) -> float:
        """The share of the stage that is done, in [0, 1)."""
        return self.step / self.steps


class Step(NamedTuple):
    """What a step gives: the weighted loss terms, which the engine sums, and what is worth a curve."""

    losses: dict[str, Scalar]
    watch: dict[str, Tensor]  # scalars, or one value per class


class Stage(NamedTuple):
    """A part of a run with its own schedule: `share` of the run's steps, from `rate` times its learning rate on.

    What one that `pretrains` has made of the student is kept as weights to start other runs from.
    """

    name: str
    share: float
    rate: float = 1.0
    pretrains: bool = False


@dataclass(frozen=True)
class Tools:
    """What a method is built from, besides its own settings."""

    net: NetConfig
    num_classes: int
    num_labeled: int
    num_unlabeled: int

    def build_net(self) -> SegNet:
        """A freshly initialized network; equal at every call after the same seed."""
        return build_net(self.net, self.num_classes)


class Method(nn.Module):
    """A training method over one batch at a time.

    A subclass names itself and its paper, says what its settings are, builds what it trains in `__init__`, and
    writes `step`. It is testable in a loop of five lines: `step`, backward, optimizer, `after_update`.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self.tools = tools

    def step(self, batch: Batch, now: Now) -> Step:
        """The losses of one batch; runs under the engine's autocast."""
        raise NotImplementedError

    def after_update(self, now: Now) -> None:
        """Called once after every optimizer step."""

    def stages(self) -> tuple[Stage, ...]:
        """The stages in order; their shares sum to 1."""
        return (Stage("train", 1.0),)

    def begin(self, stage: Stage, pool: Pool) -> None:
        """Called once before the first step of a stage, without gradient, in eval mode and under the engine's autocast.

        Here a method may look at the whole pool of unlabeled images. What it finds must lie in buffers: a run that
        resumes inside the stage does not come here again. On every rank it must find the same.
        """

    @property
    def student(self) -> SegNet:
        """The network that is trained."""
        raise NotImplementedError

    @property
    def teacher(self) -> SegNet | None:
        """The network that follows the student, where there is one; scored beside it."""
        return None

    predictor: ClassVar[str] = "student"
    """Which of the two is shipped."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by learning rate: of the encoder, which usually comes pre-trained, and of the rest."""
        groups = {"encoder": self.encoders(), "critics": self.critics(), "attention": self.attention()}
        known = {id(parameter) for group in groups.values() for parameter in group}
        return groups | {"new": [p for p in self.parameters() if p.requires_grad and id(p) not in known]}

    def encoders(self) -> list[nn.Parameter]:
        """The parameters of the encoders that train; a method with two networks has two."""
        return self.student.parameter_groups()["encoder"]

    def critics(self) -> list[nn.Parameter]:
        """Parameters that play against the student's, as a discriminator's do; they get an optimizer of their own."""
        return []

    @property
    def critic_rate(self) -> float:
        """The learning rate of the critics, whatever the recipe's: that of Hung et al. and of AdaptSegNet."""
        return 1e-4

    def attention(self) -> list[nn.Parameter]:
        """Parameters that weigh what a loss is made of, and so could make it small on their own."""
        return []
