"""Prototypes: each class is the mean of its labeled features, and nothing is trained; the floor for every method.

In the manner of INSID3 (CVPR 2026, visinf/INSID3), training-free segmentation with features of DINOv3. Ours are the
step from one class to several (the nearest prototype counts) and what replaces its clusters (`models/prototypes.py`).
As there, the encoder should be a self-supervised vision transformer (`net.arch=dpt`, `net.encoder` such as
`vit_small_patch14_dinov2.lvd142m`). With a convolutional encoder this is a floor too, and a low one.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field

from fewmask.data.batch import Batch
from fewmask.data.pool import Pool
from fewmask.methods.base import Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.plan import Now, Stage
from fewmask.methods.supervised import Supervised, SupervisedConfig
from fewmask.models.grid import on_grid
from fewmask.models.modes import in_eval_mode
from fewmask.models.prototypes import ClassPrototypes, PlainFeatures, prototype_net
from fewmask.models.ranks import summed_over_ranks
from fewmask.models.segnet import SegNet
from fewmask.shapes import IGNORE


class PrototypesConfig(SupervisedConfig):
    """How features are cleaned before they are compared."""

    name: str = "prototypes"
    removed_directions: int = Field(500, ge=0)
    """Number of directions of an image without content that are removed from the features; at most half of them. INSID3
    removes 500 of 1024."""
    blank_size: int = Field(512, ge=32)
    """The side in pixels of the image without content."""
    cluster_similarity: float | None = Field(None, ge=-1, le=1)
    """A cell takes the mean of the cells of its image that resemble it this much (cosine). None: it stays alone. INSID3
    clusters features of DINOv3 up to 0.6; in the maps of a convolutional encoder nearly all cells resemble so much."""


class Prototypes(Supervised):
    """Nothing is trained: each class is the mean feature of its labeled pixels, and a pixel has the nearest class.

    Every step adds the labeled crops of its batch, so some passes over the labeled images are enough. The loss trains
    one number, the scale of the logits, which makes the confidence fit and changes no prediction.
    """

    paper = "in the manner of INSID3, CVPR 2026 (our reading)"
    Config = PrototypesConfig
    own: ClassVar = {"class_balance": False}
    toy: ClassVar = {"blank_size": 64, "cluster_similarity": 0.6}
    config: PrototypesConfig

    def __init__(self, config: PrototypesConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.net = self.fitted(config, self.net)

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(unlabeled=False, num_learners=0)

    @classmethod
    def fitted(cls, config: Any, net: SegNet) -> SegNet:
        return prototype_net(net, config.removed_directions, config.cluster_similarity)

    @property
    def features(self) -> PlainFeatures:
        """The part of the network that cleans the encoder's features."""
        return self.net.network.decoder  # type: ignore[no-any-return]

    @property
    def classes(self) -> ClassPrototypes:
        """The part of the network that compares features with the classes."""
        return self.net.network.segmentation_head  # type: ignore[no-any-return]

    def replicated_buffers(self) -> list[str]:
        return ["net.network.segmentation_head.sums"]

    def begin(self, stage: Stage, pool: Pool) -> None:
        side = self.config.blank_size
        blank = self.net.mean.expand(1, 3, side, side)  # it is 0 after normalization
        self.features.remove(self.net.encode(blank).maps[-1])

    def step(self, batch: Batch, now: Now) -> Step:
        view = self.view(batch)
        height, width = view.labels.shape[-2:]
        with in_eval_mode(self.net), torch.no_grad():
            features = self.net.features(view.images)
        loss = self.supervised_loss(self.net.classify(features, (height, width)), view)
        grid = (features.shape[-2], features.shape[-1])
        labels = on_grid(view.labels, grid, self.net.stride, IGNORE)
        self.classes.add(summed_over_ranks(self.classes.observe(features, labels)))
        return Step({"sup": loss}, {"seen": self.classes.sums.any(dim=1).float()})
