"""Views of the class-wise bank as its released code makes them, step by step (docs/differences.md: 23, 43 to 45, 47).

Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021; repository Shathe/SemiSeg-Contrastive.
"""

from dataclasses import astuple, replace

from fewmask.augment import Augmentation
from fewmask.augment.color import AdditiveJitter, Jitter
from fewmask.augment.geometry import Crop
from fewmask.augment.mix import ClassMix
from fewmask.augment.steps import Step
from fewmask.methods.parts.bank_contrast import Deviation


class ReleasedViews(Augmentation):
    """The numbers of a view, whose steps follow the released code in some deviations.

    Attributes:
        followed: the deviations.
        background: the class that ClassMix spares in `background_stays`; None if the data has no background.
    """

    followed: frozenset[Deviation]
    background: int | None

    def steps(self, num_classes: int) -> list[Step]:
        return [self._as_released(step) for step in super().steps(num_classes)]

    def _as_released(self, step: Step) -> Step:
        if isinstance(step, ClassMix):
            return replace(
                step,
                one_more="one_more_class_pasted" in self.followed,
                spared=self.background if "background_stays" in self.followed else None,
                once="classmix_per_batch" in self.followed,
            )
        if isinstance(step, Crop):
            return replace(step, centered="centered_padding" in self.followed)
        if isinstance(step, Jitter) and "additive_jitter" in self.followed:
            return AdditiveJitter(*astuple(step))
        return step
