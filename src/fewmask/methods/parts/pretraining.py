"""Label-based contrastive pre-training: a stage of its own, before fine-tuning or before any other method.

Zhao et al., Contrastive Learning for Label Efficient Semantic Segmentation, ICCV 2021. The paper's text could not be
read in full: its losses are known, its settings are not. The defaults are our choice, except the temperature,
which is that of the authors' released losses (docs/label_contrast.md).
"""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, field_validator

from fewmask.augment import Augmentation, augment_apart, distort
from fewmask.data.batch import Batch, Labeled
from fewmask.errors import UserError
from fewmask.methods.course import Prelude, Step
from fewmask.methods.plan import Now, Stage
from fewmask.models.grid import on_coarse_grid
from fewmask.models.projection import MapProjector
from fewmask.models.segnet import SegNet
from fewmask.ops.contrast import batch_contrast, cross_image_contrast, within_image_contrast
from fewmask.settings import Settings
from fewmask.shapes import Scalar

STAGE = "contrast"
"""Name of the stage of a method that pre-trains itself."""

BEFORE = "pretrain"
"""Name of the stage before another method, which may have a stage of contrast of its own."""

DISTORTION = Augmentation(
    flip_probability=0.0,
    scale_probability=0.0,
    jitter_probability=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale_probability=0.2,
    classmix_probability=0.0,
)
"""Color alone changes, so that an image and its copy share their labels pixel by pixel."""


class ContrastConfig(Settings):
    """The settings of the pre-training."""

    loss: Literal["within", "cross", "batch"] = "within"
    """Where an image's positives come from: its own copy (`within`), also another image's copy (`cross`), or all copies
    of the mini-batch as one bag (`batch`)."""
    variant: Literal["paper", "released"] = "paper"
    """`released` keeps other positives out of the denominator, and its head has two layers and BatchNorm, which
    normalizes images and copies apart. The loss `batch` was not released; with `batch`, only the head differs."""
    temperature: float = Field(0.07, gt=0)
    """Similarities are divided by the temperature."""
    share: float = Field(1 / 3, gt=0, lt=1)
    """Share of the run's steps that pre-training takes."""
    finetune_rate: float = Field(1.0, gt=0)
    """Learning rate at the start of the training after the pre-training, as a share of the run's."""
    dim: int = Field(256, ge=1)
    """Length of the contrasted vectors."""
    stride: int = Field(8, ge=1)
    """Stride in pixels of the grid on which features are compared; a finer map is sampled."""
    distortion: Augmentation = DISTORTION
    """Augmentation of the copy. Only color and blur may change, because the copy shares the labels of its image."""
    weak: Augmentation | None = None
    """How an image is augmented, with its labels, before it is copied; None: not at all."""

    @field_validator("distortion")
    @classmethod
    def _leaves_pixels_in_place(cls, value: Augmentation) -> Augmentation:
        moves = [name for name in ("flip", "scale", "classmix") if getattr(value, f"{name}_probability")]
        if moves:
            raise ValueError(
                f"a copy shares the labels of its image, so {moves[0]}_probability belongs in contrast.weak"
            )
        return value


class Pretraining(Prelude):
    """The contrast of labeled images with their color-distorted copies, and the head it needs."""

    def __init__(self, config: ContrastConfig, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.later_rate = config.finetune_rate
        released = config.variant == "released"
        self.projector = MapProjector(feature_dim, config.dim, layers=2 if released else 3, batchnorm=released)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage(BEFORE, self.config.share, pretrains=True),)

    def step(self, student: SegNet, batch: Batch, now: Now) -> Step:
        return Step({"contrast": self(student, batch.domains)}, {})

    def forward(self, net: SegNet, parts: Iterable[Labeled]) -> Scalar:
        """The loss of a batch of labeled images, which are given by domain."""
        config, (images, labels) = self.config, self._views(parts)
        net.check_trains(images)  # the next stage has no copies beside them
        both = torch.cat([images, distort(config.distortion, images)])
        features, both_labels = on_coarse_grid(
            net.features(both), labels.repeat(2, 1, 1), net.stride, config.stride, align_corners=True
        )
        if features.shape[-2:] == (1, 1):
            what = "the features of a crop are one cell, and the contrast compares the cells of an image"
            raise UserError(what, fix="Train with larger crops (data.crop), or a smaller stride of the contrast.")
        if config.variant == "released":  # its head normalizes images and copies each by themselves
            pixels, copies = (self.projector(half) for half in features.chunk(2))
        else:
            pixels, copies = self.projector(features).chunk(2)
        labels = both_labels[: len(pixels)]
        if config.loss == "batch":
            return batch_contrast(pixels, copies, labels, config.temperature)
        if config.loss == "within":
            return within_image_contrast(pixels, copies, labels, config.temperature, config.variant)
        if len(labels) < 2:
            what = "the loss `cross` compares an image with another one, and a labeled batch has one"
            raise UserError(what, "training.labeled_batch", "Make it 2 or more.")
        partners = torch.arange(len(labels), device=labels.device).roll(1)  # each part of a batch is in random order
        return cross_image_contrast(pixels, copies, labels, partners, config.temperature, config.variant)

    def _views(self, parts: Iterable[Labeled]) -> Labeled:
        """The images that are copied and contrasted. ClassMix pastes only within a domain."""
        if self.config.weak is None:
            return Labeled(*(torch.cat(maps) for maps in zip(*parts, strict=True)))
        view = augment_apart(self.config.weak, parts, self.num_classes)
        return Labeled(view.images, view.labels)
