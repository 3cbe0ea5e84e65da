"""Directional context-aware consistency: a pixel has similar features in two windows, led by the surer window.

Lai et al., Semi-supervised Semantic Segmentation with Directional Context-aware Consistency, CVPR 2021,
https://arxiv.org/abs/2106.14133. The settings are those of the authors' released code
(dvlab-research/Context-Aware-Consistency).

Our choices: the two windows are cut from the batch's crop and have three quarters of each side, so that they always
overlap, with an intersection over union of at least about 0.3. The original crops the whole image, scaled
by 0.8 to 2, with at least 0.1; here unlabeled crops keep their scale.
Both windows go through the network as one batch. The queue of negatives of earlier steps, which the original has for
VOC alone, is left out.
"""

import math
from typing import Any, ClassVar

import torch
from einops import rearrange, reduce
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fewmask.augment import Augmentation, Probability, distort
from fewmask.data.batch import Batch, Unlabeled
from fewmask.errors import UserError
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.parts.collapse import EXCESS, collapse_alarm, excess_of
from fewmask.methods.parts.own_views import own_views
from fewmask.methods.plan import Now, first_step
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.projection import MapProjector
from fewmask.models.ranks import from_all_ranks
from fewmask.models.segnet import SegOutput
from fewmask.ops.contrast import Pixels, directional_contrast, pulled
from fewmask.ops.windows import Windows, cut, draw_windows, match
from fewmask.shapes import IGNORE, Images, Scalar

DISTORTION = Augmentation(
    flip_probability=0.5,
    scale_probability=0.0,
    jitter_probability=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale_probability=0.2,
    blur_probability=0.5,
    classmix_probability=0.0,
)
"""Augmentation of a window, of which only flip, color and blur apply."""


class ContextConsistencyConfig(SupervisedConfig):
    """The windows, the pixels that are pulled, and the number of negatives."""

    name: str = "cac"
    class_balance: bool = False
    window_share: float = Field(0.75, gt=0, le=1)
    """Share of each side of the crop that a window has, rounded to a size that the network takes without padding."""
    distortion: Augmentation = DISTORTION
    """Augmentation of a window, of which only flip, color and blur apply."""
    stride: int = Field(8, ge=1)
    """Stride in pixels of the grid on which features are compared; a finer map is averaged, a coarser one stays."""
    confidence_threshold: Probability = 0.75
    """A pixel is pulled to its partner in the other window only if the partner's confidence is above this."""
    temperature: float = Field(0.1, gt=0)
    """Cosines are divided by the temperature."""
    num_negatives: int = Field(6400, ge=1)
    """Number of random pixels that serve as negatives: of each of the two windows, over all images, on each rank."""
    context_weight: float = Field(0.1, ge=0)
    """Weight of the contrast between the windows."""
    warmup_share: Probability = 5 / 80
    """Share of the run, from its start, that trains on labels alone."""
    dim: int = Field(128, ge=1)
    """Length of the contrasted vectors."""
    hidden_dim: int = Field(256, ge=1)
    """Number of channels between the two layers of the projection head."""


class ContextConsistency(Supervised):
    """Supervised training, with a contrast between the features of two overlapping windows of unlabeled images."""

    paper = "Lai et al., CVPR 2021"
    Config = ContextConsistencyConfig
    own: ClassVar = {"weak": own_views(scale_range=(0.5, 2.0))}
    toy: ClassVar = {"dim": 16, "hidden_dim": 16, "confidence_threshold": 0.3, "warmup_share": 0.2}
    config: ContextConsistencyConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs()

    def __init__(self, config: ContextConsistencyConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.projector = MapProjector(self.net.feature_dim, config.dim, layers=2, hidden_dim=config.hidden_dim)

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def phases(self, stage: str, steps: int) -> list[int]:
        return [first_step(self.config.warmup_share, steps)]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        view = self.view(batch)
        labeled = self.net(view.images)
        cell = self._cell(view.images, labeled)
        height, width = batch.unlabeled.images.shape[-2:]
        size = self._window_side(height, cell), self._window_side(width, cell)  # raises if there is no room
        sup = self.supervised_loss(labeled.logits, view)
        if not now.phase:
            return Step({"sup": sup}, {})
        context, watch = self._context(batch.unlabeled, size, cell)
        return Step({"sup": sup, "context": self.config.context_weight * context}, watch)

    def _context(self, unlabeled: Unlabeled, size: tuple[int, int], cell: int) -> tuple[Scalar, dict[str, Tensor]]:
        """The directional loss of both windows of this size, and curves: the share of cells pulled, and the excess."""
        config, (height, width) = self.config, unlabeled.images.shape[-2:]
        flip, device = config.distortion.flip_probability, unlabeled.images.device
        both = [draw_windows(len(unlabeled.images), (height, width), size, cell, flip, device) for _ in range(2)]
        one, other = self._pixels(unlabeled, both)
        negatives = Pixels(*(torch.cat(pair) for pair in zip(self._some(one), self._some(other), strict=True)))
        negatives = Pixels(*(from_all_ranks(values.detach()) for values in negatives))

        losses, shares = [], []
        for pixels, partners, windows in ((one, other, both), (other, one, both[::-1])):
            cells, found = match(*windows)
            same = partners.of(cells)
            active = pulled(pixels, same, found, config.confidence_threshold)
            losses.append(directional_contrast(pixels, same, active, negatives, config.temperature))
            shares.append(active.float().mean())
        excess = excess_of(torch.cat([one.classes, other.classes]), self.frequency)
        return torch.stack(losses).sum(), {"active": torch.stack(shares).mean(), EXCESS: excess}

    def _pixels(self, unlabeled: Unlabeled, both: list[Windows]) -> tuple[Pixels, Pixels]:
        """The cells of each of the two windows; their pseudo-labels are the network's own, without gradient."""
        size, cell = both[0].size, both[0].cell
        images, valid = (
            torch.cat([cut(maps, windows) for windows in both])
            for maps in (unlabeled.images, unlabeled.valid[:, None].float())
        )
        grid = size[0] // cell, size[1] // cell
        features = F.adaptive_avg_pool2d(self.net.features(distort(self.config.distortion, images)), grid)
        vectors = rearrange(self.projector(features), "b d r c -> (b r c) d")
        with torch.no_grad():
            confidence, classes = self.net.classify_cells(features).float().softmax(dim=1).max(dim=1)
            inside = reduce(valid, "b 1 (r i) (c j) -> b r c", "min", i=cell, j=cell) > 0
            classes, confidence = classes.masked_fill(~inside, IGNORE), confidence * inside
        cells = Pixels(vectors, classes.flatten(), confidence.flatten())
        one, other = zip(*(values.chunk(2) for values in cells), strict=True)
        return Pixels(*one), Pixels(*other)

    def _some(self, pixels: Pixels) -> Pixels:
        """At most `num_negatives` of the pixels, at random."""
        num_pixels = len(pixels.classes)
        if num_pixels <= self.config.num_negatives:
            return pixels
        return pixels.of(torch.randperm(num_pixels, device=pixels.classes.device)[: self.config.num_negatives])

    def _cell(self, images: Images, output: SegOutput) -> int:
        """The side of a cell in pixels: the stride of the grid, or the stride of the features if that is larger."""
        padded = -(-images.shape[-1] // self.net.stride) * self.net.stride
        return max(self.config.stride, -(-padded // output.features.shape[-1]))

    def _window_side(self, side: int, cell: int) -> int:
        unit = math.lcm(cell, self.net.stride)
        if side < unit:
            raise UserError(
                f"a crop of {side} pixels has no room for a window of {unit}, the smallest that this network takes",
                "data.crop",
                f"Crop at least {2 * unit} pixels.",
            )
        return unit * min(max(1, round(self.config.window_share * side / unit)), side // unit)
