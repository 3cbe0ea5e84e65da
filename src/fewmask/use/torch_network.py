"""A network in torch, as prediction uses it."""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fewmask.data.batch import to_unit
from fewmask.data.store import resized_images
from fewmask.models.modes import in_eval_mode
from fewmask.use.deployed import Deployed
from fewmask.use.device import enough_memory
from fewmask.use.network import PLAIN, Maps, View
from fewmask.use.scaling import Side

_SMALLEST = 1e-30  # of a probability, so that its logarithm is finite
_FIX = "Take smaller tiles (--tile 512), or leave a GPU for the CPU (--device cpu)."


class TorchNetwork:
    """A `Deployed` behind the protocol `Network`."""

    memory = 2**25

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.classes, self.resize = deployed.classes, deployed.resize

    @property
    def stride(self) -> int:
        """Images are padded to a multiple of this."""
        return self.deployed.net.stride

    @property
    def band(self) -> int:
        """Floats that are well computed at once: on a CPU those that stay in its caches."""
        return 2**19 if self.deployed.net.mean.device.type == "cpu" else 2**26

    @cached_property
    def cells_per_stride(self) -> int | None:
        """The network's own cells in `stride` pixels, found by a look at two small images; None if they do not fit."""
        with torch.inference_mode(), in_eval_mode(self.deployed.net):
            lengths = [self.stride * cells for cells in (2, 3)]
            blank = [torch.zeros(1, 3, length, length, device=self.deployed.net.mean.device) for length in lengths]
            found = [self.deployed.net.cells(images).shape[-1] for images in blank]
        cells = found[1] - found[0]
        return cells if found[0] == 2 * cells else None

    def resized(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """The picture [h w 3] as training and scoring resize it."""
        images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        return resized_images(images, size)[0].permute(1, 2, 0).numpy()

    @torch.inference_mode()
    def scores(self, images: NDArray[np.uint8], views: Sequence[View], grid: tuple[int, int] | None) -> Tensor:
        """See `Network.scores`."""
        net = self.deployed.net
        levels = torch.from_numpy(images).permute(0, 3, 1, 2).to(net.mean.device, non_blocking=True)
        with in_eval_mode(net), enough_memory(_FIX):
            if grid is None:
                return net.cells(to_unit(levels, levels.device)).float()
            if tuple(views) == PLAIN:
                scores = net(to_unit(levels, levels.device)).logits.float()
            else:
                mean = torch.stack([self._probabilities(levels, view) for view in views]).mean(dim=0)
                scores = mean.clamp(min=_SMALLEST).log()
            height, width = scores.shape[-2:]
            return F.pad(scores, (0, grid[1] - width, 0, grid[0] - height), mode="replicate")

    def _probabilities(self, levels: Tensor, view: View) -> Tensor:
        height, width = levels.shape[-2:]
        size = (max(2, round(height * view.scale)), max(2, round(width * view.scale)))
        shown = levels.flip(-1) if view.mirrored else levels
        found: Tensor = Deployed(self.deployed.net, size if view.scale != 1 else None, self.classes)(shown)
        return found.flip(-1) if view.mirrored else found

    def blank(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros on the network's device."""
        return torch.zeros(shape, device=self.deployed.net.mean.device)

    def own(self, array: NDArray[np.float32]) -> Tensor:
        """The array on the network's device."""
        return torch.from_numpy(array).to(self.deployed.net.mean.device)

    @torch.inference_mode()
    def maps(self, rows: Tensor, columns: Side, entropy: bool) -> Maps:
        """See `Network.maps`."""
        height = rows.shape[1]
        with enough_memory(_FIX):
            if columns.cells != columns.padded:
                rows = F.interpolate(rows[None], (height, columns.padded), mode="bilinear", align_corners=True)[0]
            rows = rows[..., : columns.network]
            if columns.network != columns.image:
                rows = F.interpolate(rows[None], (height, columns.image), mode="bilinear", align_corners=False)[0]
            probabilities = rows.softmax(dim=0)
            confidence, labels = probabilities.max(dim=0)
            spread = -torch.special.xlogy(probabilities, probabilities).sum(dim=0) if entropy else None
        found = None if spread is None else (spread / math.log(len(rows))).clamp(0, 1).cpu().numpy()
        return Maps(labels.byte().cpu().numpy(), confidence.cpu().numpy(), found)
