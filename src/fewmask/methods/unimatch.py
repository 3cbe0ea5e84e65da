"""UniMatch: a weak view teaches two strong views with CutMix, and itself with channels of its features dropped.

Yang, Qi, Feng, Zhang and Shi, Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation, CVPR
2023, https://arxiv.org/abs/2208.09910. The settings are those of the released code (LiheYoung/UniMatch, unimatch.py).
"""

from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field

from fewmask.augment import View
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs
from fewmask.methods.course import Step
from fewmask.methods.parts import weak_to_strong
from fewmask.methods.parts.auto_threshold import Thresholded, finds_threshold
from fewmask.methods.parts.collapse import collapse_alarm
from fewmask.methods.parts.feature_dropout import with_dropped
from fewmask.methods.parts.pseudo_balance import PseudoBalanced
from fewmask.methods.parts.weak_to_strong import (
    WeakToStrongConfig,
    curves,
    mean_of_views,
    pseudo_labeled,
    rare_paste,
    strong_view,
    sure_cross_entropy,
    weak_view,
)
from fewmask.methods.plan import Now
from fewmask.models.segnet import SegNet
from fewmask.shapes import Logits


class UniMatchConfig(WeakToStrongConfig):
    """The strong views, the dropped channels, and the weights of both terms."""

    name: str = "unimatch"
    dropout: float = Field(0.5, ge=0, lt=1)
    """Probability that a channel of the encoder's maps is dropped in the weak view."""
    image_weight: float = Field(0.5, ge=0)
    """Weight of the two strong views together, beside 1 for the labels; the sum of all terms is halved."""
    feature_weight: float = Field(0.5, ge=0)
    """Weight of the weak view with dropped channels, beside 1 for the labels; the sum of all terms is halved."""


class UniMatch(Thresholded, PseudoBalanced):
    """FixMatch with two strong views of each image, and with channels of the weak view's features dropped.

    The original drops channels of the two maps that its decoder reads; here every map of the encoder drops some. The
    decoder reads the clean and the dropped maps in one pass, for labeled images too, as in the released code. An image
    is mixed with its neighbor in the batch; the released code loads a second batch for it, and labels that batch in
    eval mode.
    """

    paper = "Yang et al., CVPR 2023"
    Config = UniMatchConfig
    own: ClassVar = weak_to_strong.OWN
    toy: ClassVar = {"confidence_threshold": 0.5}
    config: UniMatchConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(min_unlabeled_batch=2, held_out=finds_threshold(config))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config, threshold = self.config, self.threshold(batch, self.net)
        labeled, weak = self.view(batch), weak_view(config, batch.unlabeled)
        logits = clean_and_dropped(self.net, labeled, weak, config.dropout)
        weak = pseudo_labeled(weak, logits.weak)
        pasted = rare_paste(config, batch, labeled, self.frequency)
        strong = [strong_view(config, weak, pasted) for _ in range(2)]
        strong_logits = self.net(torch.cat([view.images for view in strong])).logits
        weights = self.pseudo_weights()
        losses = {
            "sup": self.supervised_loss(logits.labeled, labeled) / 2,
            "pseudo": config.image_weight / 2 * mean_of_views(strong_logits, strong, threshold, weights),
            "feature": config.feature_weight / 2 * sure_cross_entropy(logits.dropped, weak, threshold, weights),
        }
        return Step(losses, curves(weak, threshold, self.frequency))


class ThreeLogits(NamedTuple):
    """What one pass says of labeled images, of weak views, and of weak views with dropped channels."""

    labeled: Logits
    weak: Logits
    dropped: Logits


def clean_and_dropped(net: SegNet, labeled: View, weak: View, dropout: float) -> ThreeLogits:
    """Encodes labeled and weak views together, and decodes them clean and with dropped channels together."""
    images = torch.cat([labeled.images, weak.images])
    height, width = images.shape[-2:]
    features = net.decode(with_dropped(net.encode(images), dropout))
    num_labeled, num_weak = len(labeled.images), len(weak.images)
    parts = net.classify(features, (height, width)).split([num_labeled, num_weak, num_labeled, num_weak])
    return ThreeLogits(parts[0], parts[1], parts[3])
