"""s4GAN: a discriminator of images with their class maps gives features to match, and picks images to learn from.

Mittal et al., Semi-Supervised Semantic Segmentation with High- and Low-level Consistency, TPAMI 2021,
https://arxiv.org/abs/1908.05724. The settings are those of the released code (sud0301/semisup-semseg) for Pascal VOC.

This is the segmentation branch alone. The second branch, MLMT, a classifier of whole images that removes classes from
the prediction, is left out, as in the released commands for Cityscapes.
Our choices: the labeled images of the same batch are the true ones, while the released code draws a second batch. One
pass over the labeled images serves both the matching and the discriminator. Class maps of an unlabeled image are 0 in
the padding, like class maps of labels. Labeled and unlabeled images are augmented alike, by the weak augmentation.
"""

from typing import Any, ClassVar

from einops import rearrange
from pydantic import Field
from torch import Tensor

from fewmask.augment import Probability, augment_unlabeled
from fewmask.data.batch import Batch
from fewmask.methods.base import Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.groups import Group
from fewmask.methods.parts.adversary import critic_group, telling_apart
from fewmask.methods.plan import Now
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.discriminator import ImageDiscriminator, held_constant, label_maps
from fewmask.ops.losses import cross_entropy
from fewmask.shapes import IGNORE, Float, Scalar


class S4GANConfig(SupervisedConfig):
    """The weights of the loss terms, and the unlabeled images that are learned from."""

    name: str = "s4gan"
    class_balance: bool = False
    feature_matching_weight: float = Field(0.1, ge=0)
    """Weight of the distance between the mean features of predictions and of labels."""
    self_training_weight: float = Field(1.0, ge=0)
    """Weight of the cross-entropy with pseudo-labels."""
    threshold: Probability = 0.6
    """An image learns its own prediction if the discriminator calls it true with more than this probability. The
    original has 0.7 for Cityscapes."""
    discriminator_rate: float = Field(1e-4, gt=0)
    """Learning rate of the discriminator's Adam, whatever the segmenter's learning rate is. The original has 1e-5 for
    Cityscapes."""


class S4GAN(Supervised):
    """Supervised training, with a discriminator that tells predicted class maps from those of labels, image by image.

    Segmenter and discriminator learn in the same step. The segmenter does not learn to fool the discriminator, but
    to give predictions with the same mean features as labels. This sends no gradient to the discriminator's parameters,
    and the discriminator's term sends none to the segmenter.
    """

    paper = "Mittal et al., TPAMI 2021 (segmentation branch)"
    Config = S4GANConfig
    toy: ClassVar = {"threshold": 0.0}
    config: S4GANConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs()

    def __init__(self, config: S4GANConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.discriminator = ImageDiscriminator(tools.num_classes)

    def special_groups(self) -> list[Group]:
        return [critic_group(self.config.discriminator_rate, self.discriminator)]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config = self.config
        view, (images, valid) = self.view(batch), augment_unlabeled(config.weak, batch.unlabeled)
        labeled_logits, logits = self.net(view.images).logits, self.net(images).logits
        predicted = logits.float().softmax(dim=1) * rearrange(valid, "b h w -> b 1 h w")

        judged = held_constant(self.discriminator, predicted, images)
        fake = self.discriminator(predicted.detach(), images)
        true = self.discriminator(label_maps(view.labels, self.tools.num_classes), view.images)

        passed = judged.logits.float().sigmoid() > config.threshold
        pseudo_labels = logits.argmax(dim=1).masked_fill(~(rearrange(passed, "b -> b 1 1") & valid), IGNORE)
        matching = _feature_distance(judged.features, true.features.detach())
        losses = {
            "sup": self.supervised_loss(labeled_logits, view),
            "feature_matching": config.feature_matching_weight * matching,
            "self_training": config.self_training_weight * cross_entropy(logits, pseudo_labels),
            "disc": telling_apart(fake.logits, true.logits),
        }
        return Step(losses, {"passed_images": passed.float().mean()})


def _feature_distance(predicted: Float[Tensor, "u d"], true: Float[Tensor, "b d"]) -> Scalar:
    """Mean absolute difference of the features' means over the images, in float32."""
    return (predicted.float().mean(dim=0) - true.float().mean(dim=0)).abs().mean()
