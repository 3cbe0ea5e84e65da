"""ReCo: a contrast within the batch that samples hard pixels, and negatives of the classes that they resemble.

Liu, Zhi, Johns and Davison, Bootstrapping Semantic Segmentation with Regional Contrast, ICLR 2022,
https://arxiv.org/abs/2104.04465. The numbers and the order of steps are those of the released code (lorenmt/reco) with
its settings for Pascal VOC.

Our choices: the teacher averages BatchNorm's statistics too and is in eval mode; in the original it is in train mode
(`teacher_on_batch_statistics=true`).
The projection head reads the features before the classification layer; in the original it reads what the decoder's last
convolutions read. Different pixels of a class are drawn as anchors; in the original a pixel may be drawn twice.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from fewmask.augment import Augmentation, Probability, View
from fewmask.augment.cutout import Cutout
from fewmask.augment.geometry import Crop, Flip, Scale
from fewmask.augment.mix import ClassMix, CutMix
from fewmask.augment.steps import Step as ViewStep
from fewmask.augment.steps import take
from fewmask.data.batch import Batch, Unlabeled
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.parts.cells import as_rows, cells_of
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.mean_teacher import MeanTeacher, MeanTeacherConfig
from fewmask.methods.parts.pseudo import most_likely
from fewmask.methods.plan import Now
from fewmask.models.projection import ConvProjector
from fewmask.models.segnet import SegOutput
from fewmask.ops.class_means import class_sums
from fewmask.ops.contrast import other_class_draws, regional_contrast
from fewmask.ops.groups import membership
from fewmask.ops.losses import cross_entropy
from fewmask.ops.sampling import draw_rows
from fewmask.shapes import IGNORE, Confidence, Scalar

STRONG = Augmentation(
    scale_probability=1.0,
    scale_range=(0.5, 1.5),
    jitter_probability=0.8,
    brightness=0.25,
    contrast=0.25,
    saturation=0.25,
    hue=0.25,
    blur_probability=0.5,
    blur_sigma=(0.15, 1.15),
    classmix_probability=0.0,
)
"""Every image is scaled; then images are mixed as `mix` says; then they are flipped and change their colors."""


class ReCoConfig(MeanTeacherConfig):
    """The strong view, which pseudo-labels count, and how the contrast draws its anchors and negatives."""

    name: str = "reco"
    strong: Augmentation = STRONG
    """Augmentation of unlabeled images; ClassMix stands in `mix`. On Cityscapes the original does not scale."""
    mix: Literal["classmix", "cutmix", "cutout"] = "classmix"
    """How the unlabeled images of a batch are mixed: by half of the neighbor's classes, by a box that covers half of
    the neighbor, or by taking out such a box."""
    strong_threshold: Probability = 0.97
    """The pseudo-labels of an image count as much as the share of its pixels of which the teacher is this sure. A pixel
    of which the student is this sure is no anchor."""
    weak_threshold: Probability = 0.7
    """A pseudo-labeled pixel takes part in the contrast if the teacher is this sure of it."""
    pseudo_weight: float = Field(1.0, ge=0)
    """Weight of the cross-entropy with pseudo-labels."""
    contrast_weight: float = Field(1.0, ge=0)
    """Weight of the contrast."""
    contrast_stride: int = Field(4, ge=1)
    """Stride in pixels of the grid on which features are compared; a finer map is sampled."""
    dim: int = Field(256, ge=1)
    """Length of the contrasted vectors."""
    temperature: float = Field(0.5, gt=0)
    """Similarities are divided by the temperature, those of pixels and those of class means."""
    num_anchors: int = Field(256, ge=1)
    """The most anchors of a class in a step."""
    num_negatives: int = Field(512, ge=1)
    """Number of negatives of an anchor."""


class ReCo(MeanTeacher):
    """Mixed views with a teacher's pseudo-labels, and a contrast of hard pixels with pixels of classes like theirs."""

    paper = "Liu et al., ICLR 2022"
    Config = ReCoConfig
    own: ClassVar = {
        "class_balance": False,
        "weak": {
            "scale_probability": 1.0,
            "scale_range": [0.5, 1.5],
            "jitter_probability": 0.8,
            "brightness": 0.25,
            "contrast": 0.25,
            "saturation": 0.25,
            "hue": 0.25,
            "blur_probability": 0.5,
            "blur_sigma": [0.15, 1.15],
            "classmix_probability": 0.0,
        },
    }
    toy: ClassVar = {"dim": 8, "num_anchors": 8, "num_negatives": 8, "weak_threshold": 0.2, "strong_threshold": 0.35}
    config: ReCoConfig

    def __init__(self, config: ReCoConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.head = ConvProjector(self.net.feature_dim, config.dim)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        fewest = 1 if config.mix == "cutout" else 2
        return Needs(min_unlabeled_batch=fewest, networks=("teacher", "student"))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config, labeled, strong = self.config, self.view(batch), self._strong(batch.unlabeled)
        labeled_output, strong_output = self.net(labeled.images), self.net(strong.images)
        sure = self._sure_share(strong)
        pseudo = cross_entropy(strong_output.logits, strong.labels, pixel_weights=sure)
        losses = {
            "sup": self.supervised_loss(labeled_output.logits, labeled),
            "pseudo": config.pseudo_weight * pseudo,
        }
        if config.contrast_weight > 0:
            losses["contrast"] = config.contrast_weight * self._contrast(labeled_output, strong_output, labeled, strong)
        return Step(losses, {"sure": sure.mean(), EXCESS: excess_of(strong.labels, self.frequency)})

    @torch.no_grad()
    def _strong(self, unlabeled: Unlabeled) -> View:
        """Strong views with the pseudo-labels that the teacher gives to the images as they are."""
        config, num_classes = self.config, self.tools.num_classes
        pseudo = most_likely(self.teacher(unlabeled.images).logits, unlabeled.valid)
        mixes: dict[str, ViewStep] = {
            "classmix": ClassMix(num_classes),
            "cutmix": CutMix(),
            "cutout": Cutout(area_range=(0.5, 0.5)),
        }
        strong = config.strong
        steps: list[ViewStep] = [Scale(strong.scale_probability, strong.scale_range), Crop(), mixes[config.mix]]
        steps += [Flip(strong.flip_probability), *strong.colors()]
        return take(steps, View(unlabeled.images, pseudo.labels, pseudo.confidence, unlabeled.valid))

    def _sure_share(self, strong: View) -> Confidence:
        """For every pixel, the share of the labeled pixels of its image of which the teacher is sure."""
        counted = strong.labels != IGNORE
        sure = counted & (strong.confidence >= self.config.strong_threshold)
        share = sure.sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp(min=1)
        return share[:, None, None].expand(counted.shape)

    def _contrast(self, labeled_output: SegOutput, strong_output: SegOutput, labeled: View, strong: View) -> Scalar:
        """The contrast over the pixels of both batches, with the mean of each class as its positive key."""
        config, num_classes = self.config, self.tools.num_classes
        trusted = strong.labels.masked_fill(strong.confidence < config.weak_threshold, IGNORE)
        features = torch.cat([labeled_output.features, strong_output.features])
        labels = torch.cat([labeled.labels, trusted])
        cells = cells_of(self.net, features, labels, config.contrast_stride)
        rows = as_rows(self.head(cells.features))
        with torch.no_grad():
            member = membership(cells.classes, num_classes).bool()
            present, keys = member.any(dim=0), rows.float()
            sums = class_sums(keys, member)  # in the direction of the mean
            anchors = draw_rows(member & (cells.probabilities < config.strong_threshold), config.num_anchors)
            shape = (anchors.rows.shape[1], config.num_negatives)
            negatives = other_class_draws(cells.classes, sums, present, shape, config.temperature)
        return regional_contrast(rows, anchors, sums, negatives, present, config.temperature)
