"""A second network that sees an image with its segmentation, says where that is right, and corrects it elsewhere.

Mendel et al., Semi-supervised Segmentation based on Error-correcting Supervision, ECCV 2020,
https://doi.org/10.1007/978-3-030-58526-6_9. DeepLabv3+ is our choice.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.errors import UserError
from fewmask.models.build import NetConfig, build_network
from fewmask.shapes import Images, Logits

Corrections = Float[Tensor, "b kc h w"]
"""Logits in kc = k + 1 channels: one per class, that it is right; in the last one, that the segmentation is right."""


class Corrector(nn.Module):
    """DeepLabv3+ with random weights over RGB in [0, 1] and the probabilities of k classes.

    The network has no dropout, so that its judgments are not random.

    Args:
        encoder: as in `NetConfig`.
        num_classes: k.

    Raises:
        UserError: no DeepLabv3+ can be built over this encoder.
    """

    network: Any

    def __init__(self, encoder: str, num_classes: int) -> None:
        super().__init__()
        options = {"in_channels": 3 + num_classes, "decoder_aspp_dropout": 0.0}
        config = NetConfig(arch="deeplabv3plus", encoder=encoder, weights="none", options=options)
        try:
            network = build_network(config, num_classes + 1)
        except UserError as error:
            raise UserError(error.what, "method.corrector_encoder", error.fix) from error
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, images: Images, probabilities: Logits) -> Corrections:
        self.check_trains(images)
        height, width = images.shape[-2:]
        stride = self.network.encoder.output_stride
        both = F.pad(torch.cat([images, probabilities], dim=1), (0, -width % stride, 0, -height % stride))
        logits: Tensor = self.network(both.contiguous(memory_format=torch.channels_last))
        return logits[..., :height, :width]

    def check_trains(self, images: Images) -> None:
        """Raise a UserError if the corrector is in training and a BatchNorm would have only one value to normalize."""
        if self.training and len(images) < 2:
            raise UserError(
                "the corrector pools a whole image to one pixel and normalizes it over the batch, "
                "which has no meaning for a batch of one",
                fix="Train with at least two labeled and two unlabeled images in a batch.",
            )
