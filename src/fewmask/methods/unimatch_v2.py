"""UniMatch V2: a teacher labels the weak view, and two strong views drop complementary halves of their channels.

Yang, Zhao and Zhao, UniMatch V2: Pushing the Limit of Semi-Supervised Semantic Segmentation, TPAMI 2025,
https://arxiv.org/abs/2410.10777. The settings are those of the released code (LiheYoung/UniMatch-V2, unimatch_v2.py).

The paper's network is DPT over DINOv2: `net.arch=dpt net.encoder=vit_small_patch14_dinov2.lvd142m`. What it does over a
convolutional encoder is our choice: channels are dropped in every map that the encoder hands on.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field

from fewmask.augment import View
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs
from fewmask.methods.course import Step
from fewmask.methods.parts import weak_to_strong
from fewmask.methods.parts.auto_threshold import Thresholded, finds_threshold
from fewmask.methods.parts.collapse import collapse_alarm
from fewmask.methods.parts.feature_dropout import dropped_apart
from fewmask.methods.parts.mean_teacher import MeanTeacher, MeanTeacherConfig
from fewmask.methods.parts.pseudo_balance import PseudoBalanced
from fewmask.methods.parts.weak_to_strong import (
    WeakToStrongConfig,
    curves,
    mean_of_views,
    pseudo_labeled,
    rare_paste,
    strong_view,
    weak_view,
)
from fewmask.methods.plan import Now
from fewmask.models.segnet import SegOutput
from fewmask.shapes import Images, Logits


class UniMatchV2Config(WeakToStrongConfig, MeanTeacherConfig):
    """The strong views, which of their pixels teach, and how slowly the teacher follows."""

    name: str = "unimatch_v2"
    teacher_momentum: float = Field(0.996, ge=0, lt=1)
    """Momentum with which the teacher averages the student; it is smaller in the first steps."""
    complementary_dropout: bool = True
    """Whether the two strong views of an image drop complementary halves of the channels of their features."""


class UniMatchV2(Thresholded, PseudoBalanced, MeanTeacher):
    """Half the cross-entropy on labeled images, and half that of two strong views with the labels of a teacher.

    The teacher averages the buffers too, labels in eval mode, and is shipped. An image is mixed with its neighbor in
    the batch. The released code mixes it with the image at the same place of the reversed batch, which for the middle
    image of an odd batch is the image itself. In a vision transformer the dropout leaves the class token alone, which
    DPT reads here and does not read in the original.
    """

    paper = "Yang et al., TPAMI 2025"
    Config = UniMatchV2Config
    own: ClassVar = weak_to_strong.OWN
    toy: ClassVar = {"confidence_threshold": 0.4, "teacher_momentum": 0.5}
    config: UniMatchV2Config

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(min_unlabeled_batch=2, held_out=finds_threshold(config), networks=("teacher", "student"))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        return self.consistency(batch)[0]

    def consistency(self, batch: Batch) -> tuple[Step, View, SegOutput]:
        """The step, and the labeled view with the student's output for it, to which a method may add."""
        assert batch.unlabeled is not None
        config, threshold = self.config, self.threshold(batch, self.teacher)
        labeled, weak = self.view(batch), weak_view(config, batch.unlabeled)
        with torch.no_grad():
            weak = pseudo_labeled(weak, self.teacher(weak.images).logits)
        pasted = rare_paste(config, batch, labeled, self.frequency)
        strong = [strong_view(config, weak, pasted) for _ in range(2)]
        strong_logits = self._strong_logits(torch.cat([view.images for view in strong]))
        output: SegOutput = self.net(labeled.images)
        losses = {
            "sup": self.supervised_loss(output.logits, labeled) / 2,
            "pseudo": mean_of_views(strong_logits, strong, threshold, self.pseudo_weights()) / 2,
        }
        return Step(losses, curves(weak, threshold, self.frequency)), labeled, output

    def _strong_logits(self, images: Images) -> Logits:
        height, width = images.shape[-2:]
        encoded = self.net.encode(images)
        if self.config.complementary_dropout:
            encoded = dropped_apart(encoded)
        return self.net.classify(self.net.decode(encoded), (height, width))
