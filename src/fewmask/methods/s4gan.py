"""s4GAN: a discriminator of images with their class maps gives features to match, and picks images to learn from.

Mittal et al., Semi-Supervised Semantic Segmentation with High- and Low-level Consistency, TPAMI 2021,
https://arxiv.org/abs/1908.05724. The settings are those of the released code (sud0301/semisup-semseg) for Pascal VOC.

The second branch, MLMT, is a mean teacher that classifies whole images and takes away classes from the prediction. It
is off by default, as in the released commands for Cityscapes, and `mlmt=true` switches it on.
Our choices: the labeled images of the same batch are the true ones, while the released code draws a second batch. One
pass over the labeled images serves both the matching and the discriminator. Class maps of an unlabeled image are 0 in
the padding, like class maps of labels. Labeled and unlabeled images are augmented alike, by the weak augmentation.
Images enter the discriminator stretched to [0, 1] by the extremes of their own batch; the released code takes those of
another batch for the true ones, by mistake. The classifier has the network's encoder and learns in the same steps, with
the recipe's optimizer; the original trains a ResNet-101 on its own. Its teacher averages BatchNorm's statistics too and
uses them.
"""

from typing import Any, ClassVar

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.augment import Augmentation, Probability, augment_unlabeled, distort
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.groups import Group
from fewmask.methods.parts.adversary import critic_group, telling_apart
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.own_views import own_views
from fewmask.methods.plan import Now
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.discriminator import ImageDiscriminator, held_constant, label_maps
from fewmask.models.image_classifier import ClassGate, ImageClassifier
from fewmask.models.segnet import SegNet
from fewmask.models.teacher import average_momentum
from fewmask.ops.losses import cross_entropy
from fewmask.shapes import IGNORE, Float, Images, Labels, Scalar

MLMT_COLORS = Augmentation(
    jitter_probability=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur_probability=0.5
)
"""The colors of the images of which the classifier has to say what its teacher says of the plain ones."""


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
    mlmt: bool = False
    """Whether a classifier of whole images learns too, and takes away the classes that an image does not have."""
    mlmt_threshold: Probability = 0.2
    """A class stays in a prediction if the classifier's teacher gives it more than this probability. Class 0 always
    stays: in the original it is the background."""
    mlmt_consistency_weight: float = Field(1.0, ge=0)
    """Weight of the classifier's agreement with its teacher. It is 0 in the first tenth of the run, and then rises for
    half of the run."""
    mlmt_momentum: float = Field(0.999, ge=0, lt=1)
    """Momentum with which the classifier's teacher follows; it is smaller in the first steps."""


class S4GAN(Supervised):
    """Supervised training, with a discriminator that tells predicted class maps from those of labels, image by image.

    Segmenter and discriminator learn in the same step. The segmenter does not learn to fool the discriminator, but
    to give predictions with the same mean features as labels. This sends no gradient to the discriminator's parameters,
    and the discriminator's term sends none to the segmenter. The classifier of `mlmt` shares nothing with either.
    """

    paper = "Mittal et al., TPAMI 2021"
    Config = S4GANConfig
    own: ClassVar = {"weak": own_views()}  # for Cityscapes
    toy: ClassVar = {"threshold": 0.0}
    config: S4GANConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs()

    def __init__(self, config: S4GANConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.discriminator = ImageDiscriminator(tools.num_classes)
        self.net = self.fitted(config, self.net)
        if config.mlmt:
            self.classifier = ImageClassifier(self.net)
            self.classifier.load_state_dict(self._gate.average.network.state_dict())

    @classmethod
    def fitted(cls, config: Any, net: SegNet) -> SegNet:
        if config.mlmt:
            net.gate = ClassGate(ImageClassifier(net), config.mlmt_threshold)
        return net

    @property
    def _gate(self) -> ClassGate:
        return self.net.gate  # type: ignore[return-value]

    def encoders(self) -> list[nn.Parameter]:
        own = [*self.classifier.encoder.parameters()] if self.config.mlmt else []
        return [*super().encoders(), *(parameter for parameter in own if parameter.requires_grad)]

    def special_groups(self) -> list[Group]:
        return [critic_group(self.config.discriminator_rate, self.discriminator)]

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

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
        predicted_labels = logits.argmax(dim=1).masked_fill(~valid, IGNORE)
        pseudo_labels = predicted_labels.masked_fill(~rearrange(passed, "b -> b 1 1"), IGNORE)
        matching = _feature_distance(judged.features, true.features.detach())
        losses = {
            "sup": self.supervised_loss(labeled_logits, view),
            "feature_matching": config.feature_matching_weight * matching,
            "self_training": config.self_training_weight * cross_entropy(logits, pseudo_labels),
            "disc": telling_apart(fake.logits, true.logits),
        }
        if config.mlmt:
            losses |= self._classification(view.images, view.labels, images, now)
        excess = excess_of(predicted_labels, self.frequency)  # of all images, because at times none passes
        return Step(losses, {"passed_images": passed.float().mean(), EXCESS: excess})

    def after_update(self, now: Now) -> None:
        if self.config.mlmt:
            momentum = average_momentum(now.progress, now.steps).clamp(max=self.config.mlmt_momentum)
            self._gate.average.follow(self.classifier, momentum)

    def _classification(self, labeled: Images, labels: Labels, unlabeled: Images, now: Now) -> dict[str, Scalar]:
        """Cross-entropy with the classes that labeled images have, and agreement with the teacher on unlabeled ones."""
        has_class = label_maps(labels, self.tools.num_classes).amax(dim=(2, 3))
        logits = self.classifier(self.net.prepared(labeled)).float()
        colored = self.classifier(self.net.prepared(distort(MLMT_COLORS, unlabeled))).float()
        with torch.no_grad():
            plain = self._gate.average.network(self.net.prepared(unlabeled)).float()
        rising = (2 * (now.progress - 0.1)).clamp(0, 1).float()
        agreement = F.cosine_similarity(colored, plain, dim=1).mean()
        return {
            "mlmt": F.binary_cross_entropy_with_logits(logits, has_class),
            "mlmt_consistency": self.config.mlmt_consistency_weight * rising * (1 - agreement),
        }


def _feature_distance(predicted: Float[Tensor, "u d"], true: Float[Tensor, "b d"]) -> Scalar:
    """Mean absolute difference of the features' means over the images, in float32."""
    return (predicted.float().mean(dim=0) - true.float().mean(dim=0)).abs().mean()
