"""CutMix and CutOut: a student that sees boxes of images has to agree with a teacher that sees whole images.

French, Laine, Aila, Mackiewicz and Finlayson, Semi-supervised semantic segmentation needs strong, varied perturbations,
BMVC 2020, https://arxiv.org/abs/1906.01916. What the text leaves open is as in the released code
(Britefury/cutmix-semisup-seg, train_seg_semisup_mask_mt.py) with its settings for Cityscapes and Pascal VOC.
"""

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor

from fewmask.augment import Probability
from fewmask.data.batch import Batch, Unlabeled
from fewmask.methods.base import Alarm, Needs
from fewmask.methods.course import Step
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.mean_teacher import MeanTeacher, MeanTeacherConfig
from fewmask.methods.parts.own_views import own_views
from fewmask.methods.plan import Now
from fewmask.ops.losses import squared_distance
from fewmask.ops.mix import draw_box_mask, paste
from fewmask.shapes import IGNORE, Images, Logits, Scalar, Valid

AREA = {"cutmix": (0.5, 0.5), "cutout": (0.0, 1.0)}
"""Range of the share of an image that its box covers, drawn uniformly."""


class CutMixConfig(MeanTeacherConfig):
    """What is done with the boxes and how the consistency counts; the labeled term is that of supervised training."""

    name: str = "cutmix"
    class_balance: bool = False
    """Weights the classes of labeled pixels, as in supervised training; the original weights no class."""
    mask: Literal["cutmix", "cutout"] = "cutmix"
    """`cutmix` pastes the box of an image into its neighbor in the batch; `cutout` keeps only the box."""
    confidence_threshold: Probability = 0.97
    """The consistency is multiplied by the share of all pixels of which the teacher is at least this sure."""
    consistency_weight: float = Field(1.0, ge=0)
    """Weight of the consistency."""


class _Cut(NamedTuple):
    """The images that the student sees, the class probabilities [b k h w] to learn, and the pixels that count."""

    images: Images
    probabilities: Tensor
    counts: Valid


class CutMix(MeanTeacher):
    """Cross-entropy on labeled images, and the squared distance to a teacher's probabilities on cut unlabeled images.

    The second image of a pair is the neighbor in the batch; the released code loads a second batch for it. BatchNorm is
    as `net.batchnorm` says; the released code freezes it, and does not cap the teacher's momentum in the first steps.
    The present scripts of the released code also change the colors of what the student sees, which belongs to a later
    paper; here colors stay.
    """

    paper = "French et al., BMVC 2020"
    Config = CutMixConfig
    own: ClassVar = {"weak": own_views()}  # for Cityscapes; on Pascal VOC images are also scaled by 0.5 to 1.5
    toy: ClassVar = {"confidence_threshold": 0.3}
    config: CutMixConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        fewest = 2 if config.mask == "cutmix" else 1
        return Needs(min_unlabeled_batch=fewest, networks=("teacher", "student"))

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        cut, labeled = self._cut(batch.unlabeled), self.view(batch)
        confident = (cut.probabilities.amax(dim=1) >= self.config.confidence_threshold).float().mean()
        sup = self.supervised_loss(self.net(labeled.images).logits, labeled)
        consistency = _consistency(self.net(cut.images).logits, cut)
        pseudo_labels = cut.probabilities.argmax(dim=1).masked_fill(~cut.counts, IGNORE)
        return Step(
            {"sup": sup, "consistency": self.config.consistency_weight * confident * consistency},
            {"sure": confident, EXCESS: excess_of(pseudo_labels, self.frequency)},
        )

    @torch.no_grad()
    def _cut(self, unlabeled: Unlabeled) -> _Cut:
        """Cuts the images, and in the same way the teacher's logits for whole images."""
        images, valid = unlabeled
        logits = self.teacher(images).logits.float()
        height, width = images.shape[-2:]
        box = draw_box_mask(len(images), (height, width), images.device, AREA[self.config.mask])
        if self.config.mask == "cutmix":
            images, logits, counts = paste(box, images, logits, valid)
        else:  # what is cut out is zero after normalization
            images = torch.where(rearrange(box, "b h w -> b 1 h w"), images, self.net.mean)
            counts = box & valid
        return _Cut(images, logits.softmax(dim=1), counts)


def _consistency(logits: Logits, cut: _Cut) -> Scalar:
    """Squared distance of two distributions, in [0, 2], summed over the pixels that count and divided by all pixels.

    CutOut's small boxes therefore weigh little, as in the released code.
    """
    return (squared_distance(logits, cut.probabilities) * cut.counts).mean()
