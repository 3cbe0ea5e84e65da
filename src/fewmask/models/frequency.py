"""Class frequencies over labels and pseudo-labels together, from which section 4.2 weights the classes.

These weights act as a brake: with weights from the labels alone, a rare class grows by its own pseudo-labels.
Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank, ICCV 2021.
"""

import torch
from torch import Tensor, nn

from fewmask.models.ranks import summed_over_ranks
from fewmask.ops.losses import balanced_class_weights, class_counts
from fewmask.shapes import Labels, PerClass, RowClasses

DECAY = 0.99
"""Factor by which a step shrinks the counts of older pseudo-labels, so that they count for some 100 steps. The released
code keeps the counts of one pass over the unlabeled images (docs/differences.md: 20)."""

_NEXT_TO_NONE = 1e-6


class ClassFrequency(nn.Module):
    """Class shares of the labeled images, and of the pseudo-labeled images with a fading memory.

    Args:
        num_classes: k.
        num_labeled: number of labeled images, by which their class shares are weighted.
        num_unlabeled: number of unlabeled images, by which their class shares are weighted; 0 if a method has none.
        accumulate: number of batches of a step.
    """

    labeled: Tensor
    pseudo: Tensor

    def __init__(self, num_classes: int, num_labeled: int, num_unlabeled: int, accumulate: int = 1) -> None:
        super().__init__()
        self.decay = DECAY ** (1 / accumulate)
        self.num_labeled, self.num_unlabeled = num_labeled, num_unlabeled
        self.register_buffer("labeled", torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer("pseudo", torch.zeros(num_classes, dtype=torch.float64))

    @torch.no_grad()
    def observe(self, labels: Labels) -> None:
        """Adds the labels of one step; every labeled pixel of the run counts the same."""
        self.labeled.add_(summed_over_ranks(class_counts(labels, len(self.labeled))))

    @torch.no_grad()
    def observe_pseudo(self, pseudo_labels: Labels | RowClasses) -> None:
        """Adds the pseudo-labels of one batch and lets the older ones fade."""
        counts = summed_over_ranks(class_counts(pseudo_labels, len(self.pseudo)))
        self.pseudo.mul_(self.decay).add_(counts)

    def weights(self) -> PerClass:
        """alpha_c = sqrt(median / frequency) over all images, labeled and pseudo-labeled, as in section 4.2."""
        pooled = self.num_labeled * _share(self.labeled) + self.num_unlabeled * _share(self.pseudo)
        return balanced_class_weights(pooled)

    def excess(self) -> PerClass:
        """Share of each class in the pseudo-labels divided by its share in the labels; 1 is even, near 0 is lost.

        A share counts as one pixel in a million at least, so a class that occurs in neither has the value 1.
        """
        return (_share(self.pseudo).clamp(min=_NEXT_TO_NONE) / _share(self.labeled).clamp(min=_NEXT_TO_NONE)).float()


def _share(counts: Tensor) -> Tensor:
    """Counts divided by their sum; all 0 if nothing was counted."""
    return counts / counts.sum().clamp(min=1)
