"""Two networks that learn from each other start from different weights."""

import torch

from fewmask.models.segnet import SegNet


def draw_apart(net: SegNet, other: SegNet) -> None:
    """Draws the decoder and the classifier of the second network anew where all their weights are those of the first.

    They are if a file holds them, so that both networks began with it.
    """
    for part in ("decoder", "segmentation_head"):
        ours, theirs = (each.network.get_submodule(part) for each in (net, other))
        if all(map(torch.equal, ours.parameters(), theirs.parameters())):
            for module in theirs.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
