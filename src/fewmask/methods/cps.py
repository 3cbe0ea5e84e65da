"""Cross pseudo supervision: two networks that start from different weights label for each other at every step.

Chen, Yuan, Zeng and Wang, Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision, CVPR 2021,
https://arxiv.org/abs/2106.01226. The settings are those of the released code (charlesCXK/TorchSemiSeg) for Pascal VOC.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from fewmask.augment import View
from fewmask.augment.mix import CutMix
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.pseudo import most_likely
from fewmask.methods.parts.weak_to_strong import OWN, weak_view
from fewmask.methods.plan import Now
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.apart import draw_apart
from fewmask.models.segnet import SegNet
from fewmask.ops.losses import cross_entropy
from fewmask.shapes import Labels, Logits

_BOXES = CutMix(area_range=(0.25, 0.5), num_boxes=3)
_WEIGHTS = {"none": 1.5, "cutmix": 1.0}


class CPSConfig(SupervisedConfig):
    """Whether images are mixed, and how the labels of the other network count."""

    name: str = "cps"
    class_balance: bool = False
    """Weights the classes of labeled pixels, as in supervised training. It is off, as in the original: the networks
    exchange labels without a threshold, and a rare class with a high weight can take them over."""
    mix: Literal["none", "cutmix"] = "none"
    """`none`: the networks label the labeled and the unlabeled images as they see them. `cutmix`: they label the
    unlabeled images alone, and see boxes of a neighbor in them."""
    cross_weight: float | None = Field(None, ge=0)
    """Weight of the labels that the networks give each other. None: 1.5, and 1 with cutmix, as on Pascal VOC. On
    Cityscapes the paper has 6 and 5."""


class CPS(Supervised):
    """Two networks learn from labels, and each from the most likely classes of the other one.

    Both networks start from the weights of the recipe and differ in the drawn weights of decoder and classifier. If the
    recipe's weights have these too, the second network draws its own. Both
    are scored, and the first is shipped, as in the paper. Differences from the released code: pixels of labeled images
    that have no label teach nothing, and with cutmix an image is mixed with its neighbor, not with a second batch.
    """

    paper = "Chen et al., CVPR 2021"
    Config = CPSConfig
    own: ClassVar = {"weak": OWN["weak"]}
    toy: ClassVar = {"cross_weight": 0.2}
    config: CPSConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        fewest = 2 if config.mix == "cutmix" else 1
        return Needs(min_unlabeled_batch=fewest, networks=("student", "peer"), num_learners=2)

    def __init__(self, config: CPSConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.peer = tools.build_net()
        draw_apart(self.net, self.peer)

    def networks(self) -> dict[str, SegNet]:
        return {"student": self.net, "peer": self.peer}

    def encoders(self) -> list[nn.Parameter]:
        return [*super().encoders(), *self.peer.parameter_groups()["encoder"]]

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        learners = (self.net, self.peer)
        labeled, weak = self.view(batch), weak_view(self.config, batch.unlabeled)
        labeled_logits = [net(labeled.images).logits for net in learners]
        if self.config.mix == "cutmix":
            logits, labels = self._on_mixed(weak)
        else:
            logits = [
                torch.cat([of_labeled, net(weak.images).logits])
                for net, of_labeled in zip(learners, labeled_logits, strict=True)
            ]
            labels = [most_likely(each, torch.cat([labeled.valid, weak.valid])).labels for each in logits]
        weight = self.config.cross_weight
        weight = _WEIGHTS[self.config.mix] if weight is None else weight
        losses = {
            "sup": self.supervised_loss(labeled_logits[0], labeled),
            "sup_peer": self.supervised_loss(labeled_logits[1], labeled),
            "cross": weight * (cross_entropy(logits[0], labels[1]) + cross_entropy(logits[1], labels[0])),
        }
        of_unlabeled = torch.cat([each[-len(weak.images) :] for each in labels])
        return Step(losses, {EXCESS: excess_of(of_unlabeled, self.frequency)})

    def _on_mixed(self, weak: View) -> tuple[list[Logits], list[Labels]]:
        """What both networks say of mixed images, and what they say, mixed alike, of the images before."""
        pasted = _BOXES.draw(weak)
        with torch.no_grad():
            labels = [
                pasted(weak.with_pseudo_labels(*most_likely(net(weak.images).logits, weak.valid)[:2])).labels
                for net in (self.net, self.peer)
            ]
        images = pasted(weak).images
        return [net(images).logits for net in (self.net, self.peer)], labels
