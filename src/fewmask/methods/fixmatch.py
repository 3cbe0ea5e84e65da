"""FixMatch for segmentation: sure predictions for a weak view teach a strong view with CutMix, in one network.

Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020,
https://arxiv.org/abs/2001.07685, in the form for segmentation of Yang et al. (UniMatch), CVPR 2023,
https://arxiv.org/abs/2208.09910. The settings are those of UniMatch's released code (LiheYoung/UniMatch, fixmatch.py).
"""

from typing import Any, ClassVar

import torch

from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs
from fewmask.methods.course import Step
from fewmask.methods.parts import weak_to_strong
from fewmask.methods.parts.auto_threshold import Thresholded, finds_threshold
from fewmask.methods.parts.collapse import collapse_alarm
from fewmask.methods.parts.pseudo_balance import PseudoBalanced
from fewmask.methods.parts.weak_to_strong import (
    WeakToStrongConfig,
    curves,
    pseudo_labeled,
    rare_paste,
    strong_view,
    sure_cross_entropy,
    weak_view,
)
from fewmask.methods.plan import Now


class FixMatchConfig(WeakToStrongConfig):
    """The strong view, and which of its pixels teach; the labeled term is that of supervised training."""

    name: str = "fixmatch"


class FixMatch(Thresholded, PseudoBalanced):
    """Half the cross-entropy on labeled images, and half that of strong views with the labels of weak views.

    The weak views go through the network together with the labeled ones, in train mode, as in the released code. An
    image is mixed with its neighbor in the batch; the released code loads a second batch for it, and labels that batch
    in eval mode.
    """

    paper = "Sohn et al., NeurIPS 2020"
    Config = FixMatchConfig
    own: ClassVar = weak_to_strong.OWN
    toy: ClassVar = {"confidence_threshold": 0.5}
    config: FixMatchConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(min_unlabeled_batch=2, held_out=finds_threshold(config))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config, threshold = self.config, self.threshold(batch, self.net)
        labeled, weak = self.view(batch), weak_view(config, batch.unlabeled)
        both = self.net(torch.cat([labeled.images, weak.images])).logits
        labeled_logits, weak_logits = both.split([len(labeled.images), len(weak.images)])
        weak = pseudo_labeled(weak, weak_logits)
        strong = strong_view(config, weak, rare_paste(config, batch, labeled, self.frequency))
        losses = {
            "sup": self.supervised_loss(labeled_logits, labeled) / 2,
            "pseudo": sure_cross_entropy(self.net(strong.images).logits, strong, threshold, self.pseudo_weights()) / 2,
        }
        return Step(losses, curves(weak, threshold, self.frequency))
