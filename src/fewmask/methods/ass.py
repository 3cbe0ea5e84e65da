"""Alleviating Semantic-level Shift: adversarial alignment of predictions, and of class vectors, across domains.

Wang et al., Alleviating Semantic-level Shift: A Semi-supervised Domain Adaptation Method for Semantic Segmentation,
CVPR workshops 2020, https://arxiv.org/abs/2004.00794. This is our reading: code and full text were not available.

The abstract says: there is a global alignment, and one at the level of semantics. For the latter, features are averaged
per class under the labels of the source and of the few labeled target images, and a discriminator sees the averages.
The code of AdaptSegNet (Tsai et al., CVPR 2018), on which the method builds, gives the discriminator of probability
maps and its rate, source 0 and target 1, a segmenter that makes the target look like the source, the weight 0.001, and
halved losses of the discriminator.
Our choices are the discriminator of class vectors (an MLP that is told the class), its weight, unlabeled images without
augmentation as the target of the global alignment, one output level, and no warm-up.
"""

from typing import Any, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from fewmask.data.batch import Batch
from fewmask.methods.base import Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.domain_baselines import Joint, JointConfig
from fewmask.methods.groups import Group
from fewmask.methods.parts.adversary import critic_group, telling_apart
from fewmask.methods.plan import Now
from fewmask.models.discriminator import ClassVectorDiscriminator, MapDiscriminator, held_constant
from fewmask.models.grid import on_coarse_grid
from fewmask.ops.class_means import class_means
from fewmask.ops.losses import binary_cross_entropy
from fewmask.shapes import IGNORE, Scalar

SOURCE = 0.0
"""A discriminator's label of the source; its label of the target is 1."""


class SemanticShiftConfig(JointConfig):
    """The weights of the two alignments, and how their discriminators learn."""

    name: str = "ass"
    global_weight: float = Field(0.001, ge=0)
    """Weight of the alignment of predicted maps."""
    semantic_weight: float = Field(0.001, ge=0)
    """Weight of the alignment of class vectors."""
    discriminator_rate: float = Field(1e-4, gt=0)
    """Learning rate of the discriminators' Adam, whatever the segmenter's learning rate is."""
    stride: int = Field(8, ge=1)
    """Stride in pixels of the grid over which class vectors are averaged; 8 is DeepLabv2's. A finer map is sampled."""


class SemanticShift(Joint):
    """Joint training, with a discriminator of predicted maps and one of class vectors.

    Segmenter and discriminators learn in the same step. The segmenter's terms send no gradient to the
    discriminators' parameters, and the discriminators' terms send none to the segmenter.
    """

    paper = "Wang et al., CVPRW 2020 (our reading)"
    Config = SemanticShiftConfig
    config: SemanticShiftConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(source="required")

    def __init__(self, config: SemanticShiftConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.map_discriminator = MapDiscriminator(tools.num_classes)
        self.vector_discriminator = ClassVectorDiscriminator(tools.num_classes, self.net.feature_dim)

    def special_groups(self) -> list[Group]:
        return [critic_group(self.config.discriminator_rate, self.map_discriminator, self.vector_discriminator)]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        view = self.view(batch)
        num_target = len(batch.target.images)
        labeled, unlabeled = self.net(view.images), self.net(batch.unlabeled.images)

        in_image = self.map_discriminator.in_image  # padding, which has no label, would tell the domains apart
        source_maps = labeled.logits[num_target:].float().softmax(dim=1)
        global_loss, map_loss = _adversarial(
            self.map_discriminator,
            source=_Samples(source_maps, in_image(view.labels[num_target:] != IGNORE)),
            target=_Samples(unlabeled.logits.float().softmax(dim=1), in_image(batch.unlabeled.valid)),
        )
        features, labels = on_coarse_grid(labeled.features, view.labels, self.net.stride, self.config.stride)
        vectors, occurs = class_means(features, labels, self.tools.num_classes)
        semantic_loss, vector_loss = _adversarial(
            self.vector_discriminator,
            source=_Samples(vectors[num_target:], occurs[num_target:]),
            target=_Samples(vectors[:num_target], occurs[:num_target]),
        )
        losses = {
            "sup": self.supervised_loss(labeled.logits, view),
            "adv_global": self.config.global_weight * global_loss,
            "adv_semantic": self.config.semantic_weight * semantic_loss,
            "disc_global": map_loss,
            "disc_semantic": vector_loss,
        }
        return Step(losses, {})


class _Samples(NamedTuple):
    """The samples of one domain that a discriminator sees, and which of its scores count."""

    values: Tensor
    counts: Tensor


def _adversarial(discriminator: nn.Module, source: _Samples, target: _Samples) -> tuple[Scalar, Scalar]:
    """The segmenter's term, which trains no parameter of the discriminator, and the term that trains these alone."""
    fooling = binary_cross_entropy(held_constant(discriminator, target.values), SOURCE, target.counts)
    of_source, of_target = (discriminator(domain.values.detach()) for domain in (source, target))
    return fooling, telling_apart(of_source, of_target, source.counts, target.counts)
