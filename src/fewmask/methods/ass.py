"""Alleviating Semantic-level Shift: adversarial alignment of predictions, and of class vectors, across domains.

Wang et al., Alleviating Semantic-level Shift: A Semi-supervised Domain Adaptation Method for Semantic Segmentation,
CVPR workshops 2020, https://arxiv.org/abs/2004.00794. Our reading: no code and no full text was available.

Verified, from the abstract: a global alignment, and one at the level of semantics, in which features are averaged per
category under the labels of the source and of the few labeled target images and handed to a discriminator.
From the code of the method it builds on (Tsai et al., AdaptSegNet, CVPR 2018): the discriminator of probability maps,
source 0 and target 1, a segmenter that makes the target look like the source, the weight 0.001, halved losses of the
discriminator, and its rate.
Chosen by us: the discriminator of class vectors (an MLP that is told the class), its weight, the unlabeled images, not
augmented, as the target of the global alignment, one output level, and no warm-up.
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
from fewmask.shapes import Scalar

SOURCE = 0.0
"""What a discriminator is to say of the source; 1 of the target."""


class SemanticShiftConfig(JointConfig):
    """The weights of the two alignments, and how their discriminators learn."""

    name: str = "ass"
    global_weight: float = Field(0.001, ge=0)
    semantic_weight: float = Field(0.001, ge=0)
    discriminator_rate: float = Field(1e-4, gt=0)
    """Learning rate of the discriminators' Adam, whatever that of the segmenter."""
    stride: int = Field(8, ge=1)
    """Class vectors are means over a grid of this many pixels, as of DeepLabv2's features; a finer map is sampled."""


class SemanticShift(Joint):
    """Joint training, with a discriminator of predicted maps and one of class vectors.

    Segmenter and discriminators learn in the same step. The segmenter's terms pass through the discriminators as they
    are and leave them alone; the discriminators' terms stop at what they are given.
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

        in_image = self.map_discriminator.in_image
        source_maps = labeled.logits[num_target:].float().softmax(dim=1)
        global_loss, map_loss = _adversarial(
            self.map_discriminator,
            source=_Samples(source_maps, in_image(view.confidence[num_target:] > 0)),
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
    """What a discriminator is given of one domain, and which of its scores count."""

    values: Tensor
    counts: Tensor


def _adversarial(discriminator: nn.Module, source: _Samples, target: _Samples) -> tuple[Scalar, Scalar]:
    """The segmenter's term, which reaches no parameter of the discriminator, and the discriminator's, only these."""
    fooling = binary_cross_entropy(held_constant(discriminator, target.values), SOURCE, target.counts)
    of_source, of_target = (discriminator(domain.values.detach()) for domain in (source, target))
    return fooling, telling_apart(of_source, of_target, source.counts, target.counts)
