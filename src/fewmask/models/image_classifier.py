"""A classifier of whole images, and what it lets pass: the classification branch (MLMT) of s4GAN.

Mittal et al., Semi-Supervised Semantic Segmentation with High- and Low-level Consistency, TPAMI 2021,
https://arxiv.org/abs/1908.05724.
"""

import copy

import torch
from torch import Tensor, nn

from fewmask.models.deeplabv2 import layout_for
from fewmask.models.segnet import SegNet
from fewmask.models.teacher import Teacher
from fewmask.shapes import Float, Logits

NO_CHANCE = -1e4
"""The logit of a class that does not pass: its probability is 0."""


class ImageClassifier(nn.Module):
    """A copy of a network's encoder, whose last map is averaged, and one linear layer."""

    def __init__(self, net: SegNet) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(net.network.encoder)
        self.layout = layout_for(self.encoder, net.network)
        self.classify = nn.Linear(self.encoder.out_channels[-1], net.num_classes)

    def forward(self, prepared: Float[Tensor, "b 3 hp wp"]) -> Float[Tensor, "b k"]:
        """A logit for every class that the image has it; `prepared` comes from `SegNet.prepared`."""
        encoded = self.encoder(prepared)
        maps = encoded[0] if isinstance(encoded, tuple) else encoded  # a vision transformer has tokens
        logits: Tensor = self.classify(maps[-1].mean(dim=(2, 3)))
        return logits


class ClassGate(nn.Module):
    """Takes away the classes that the average of an image classifier does not see in an image.

    Class 0 always passes: in the original it is the background, of which the classifier says nothing.
    """

    def __init__(self, classifier: ImageClassifier, threshold: float) -> None:
        super().__init__()
        self.average = Teacher(classifier)
        self.threshold = threshold

    def forward(self, prepared: Float[Tensor, "b 3 hp wp"], logits: Logits) -> Logits:
        """The logits; those of classes whose probability is not above the threshold have no chance."""
        seen = self.average.network(prepared).float().sigmoid() > self.threshold
        seen = torch.cat([torch.ones_like(seen[:, :1]), seen[:, 1:]], dim=1)
        return logits.masked_fill(~seen[:, :, None, None], NO_CHANCE)
