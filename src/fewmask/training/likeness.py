"""Says before a run if the unlabeled images look unlike the labeled ones: such images help or cost accuracy."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.data.batch import to_unit
from fewmask.data.store import Store
from fewmask.methods import DEMO
from fewmask.models.modes import in_eval_mode
from fewmask.models.segnet import SegNet
from fewmask.ops.energy_distance import unlikeness
from fewmask.shapes import Images, Rows
from fewmask.training.check_data import spread
from fewmask.training.prepare import TrainingData

_MOST_IMAGES = 64  # of either kind that are looked at, at even distances
_FEWEST_LABELED = 3
_LONGEST_SIDE = 128  # pixels; larger images are shrunk
_TOO_FAR, _MORE_THAN_CHANCE = 0.05, 1.5


def compare_images(net: SegNet, data: TrainingData, method: str) -> tuple[str, ...]:
    """A remark if the unlabeled images are of another kind than the labeled ones, as the network sees them.

    An image is the mean of the encoder's last map, in eval mode. The remark comes if the energy distance of the two
    sets of vectors is above 0.05 and above 1.5 times what random divisions of all vectors give. Fewer than 3 labeled
    images give no remark. Images of another kind are noticed if they are about half of the unlabeled images, or more.
    To a run of another `method` the remark names the one of the demo, which gained from such images there.
    """
    if data.unlabeled is None or len(data.labeled) < _FEWEST_LABELED or len(data.unlabeled) < 2:
        return ()
    places = spread(range(len(data.unlabeled)), _MOST_IMAGES)
    labeled = _vectors(net, data.labeled, spread(range(len(data.labeled)), _MOST_IMAGES))
    unlabeled = _vectors(net, data.unlabeled, places)
    distance, by_chance = unlikeness(labeled, unlabeled)
    if not distance > max(_TOO_FAR, _MORE_THAN_CHANCE * by_chance):
        return ()
    other = "" if method == DEMO else f", and `--method {DEMO}` gained from such images in the demo"
    farthest = places[int(torch.cdist(unlabeled, labeled).mean(dim=1).argmax())]
    return (
        f"The unlabeled images look unlike the labeled ones, most of all {data.partition.unlabeled[farthest]}: their "
        f"features are {distance:.2f} apart, and {by_chance:.2f} would be chance. Such images help if those that you "
        "will predict are like them. Otherwise they can cost accuracy: take them out. `--baseline` compares"
        f"{other}.",
    )


@torch.no_grad()
def _vectors(net: SegNet, store: Store, places: Sequence[int]) -> Rows:
    """The mean of the encoder's last map for each of these pictures, as a vector of length 1 on the CPU."""
    with in_eval_mode(net), ThreadPoolExecutor(os.cpu_count()) as pool:
        means = []
        for picture in pool.map(store.picture, places):
            encoded = net.encode(_shrunk(to_unit(picture.image[None], net.mean.device)))
            means.append(encoded.maps[-1].float().mean(dim=(2, 3)).cpu())
    return F.normalize(torch.cat(means), dim=1)


def _shrunk(images: Images) -> Tensor:
    height, width = images.shape[-2:]
    factor = _LONGEST_SIDE / max(height, width)
    if factor >= 1:
        return images
    size = [max(1, round(height * factor)), max(1, round(width * factor))]
    return F.interpolate(images, size, mode="bilinear", antialias=True)
