"""What a network makes of a few labeled pictures: the distances between their classes, and its features as colors.

This is only for looking: nothing here draws a random number, and the network is left as it was.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from fewmask.data.batch import to_unit
from fewmask.data.classes import Classes
from fewmask.data.store import Picture
from fewmask.models.grid import on_coarse_grid
from fewmask.models.modes import in_eval_mode
from fewmask.models.segnet import SegNet
from fewmask.run.features import Distances, FeatureLook
from fewmask.shapes import IGNORE, RowClasses, Rows, UInt8

_CELL = 4  # pixels; a finer feature map is looked at every so many rows and columns
_NEXT_TO_NOTHING = 1e-6  # a spread of unit vectors below this is rounding
_DARKEST, _BRIGHTEST = 0.02, 0.98  # quantiles


@torch.no_grad()  # not inference_mode: what an encoder caches here, such as its position code, is trained later
def look_at(net: SegNet, pictures: Sequence[Picture], classes: Classes) -> FeatureLook:
    """Looks at the features before the classification layer, in eval mode and float32; all pictures have labels."""
    with in_eval_mode(net):
        grids = [_features_and_labels(net, picture, len(classes)) for picture in pictures]
    rows = torch.cat([rearrange(features, "d hs ws -> (hs ws) d") for features, _ in grids])
    labels = torch.cat([labels.flatten() for _, labels in grids])
    colors = principal_colors(rows, labels, torch.tensor(classes.colors))
    maps = torch.split(colors, [labels.numel() for _, labels in grids])
    shaped = [found.view(*labels.shape, 3) for found, (_, labels) in zip(maps, grids, strict=True)]
    return FeatureLook(shaped, class_distances(rows, labels, len(classes)))


def class_distances(rows: Rows, labels: RowClasses, num_classes: int) -> Distances:
    """Mean distances 1 - <u_p, u_q> of the unit vectors u of the rows; a row of zeros is 1 away from all.

    Intra is the mean over pairs p != q of one class, then over the classes with a pair. Inter is the mean over p of
    class a and q of class b, then over the pairs of classes a != b. So each class counts the same, however many pixels
    it has. Both follow, in float64, from the sums s_c of the n_c vectors of a class:

        intra_c = 1 - (|s_c|^2 - sum_p |u_p|^2) / (n_c (n_c - 1)),    inter_ab = 1 - <s_a / n_a, s_b / n_b>

    Args:
        rows: features of any length.
        labels: the classes of the rows; rows with another class than 0..num_classes-1 are ignored.
        num_classes: k.
    """
    counted = labels < num_classes
    units, labels = F.normalize(rows[counted].double(), dim=1), labels[counted]
    sums = units.new_zeros(num_classes, units.shape[1]).index_add_(0, labels, units)
    squares = units.new_zeros(num_classes).index_add_(0, labels, units.square().sum(dim=1))
    counts = labels.bincount(minlength=num_classes).double()

    paired = counts > 1
    agreement = (sums.square().sum(dim=1) - squares)[paired] / (counts * (counts - 1))[paired]
    present = counts > 0
    means = sums[present] / counts[present, None]
    between = means @ means.T
    num_present = present.sum()
    inter = 1 - (between.sum() - between.trace()) / (num_present * (num_present - 1))
    return Distances(float(1 - agreement.mean()), float(inter))


def principal_colors(rows: Rows, labels: RowClasses, palette: Tensor) -> UInt8[Tensor, "n 3"]:
    """The first three principal components of the unit vectors of the rows, as RGB.

    Components have no sign, and the components of two networks have no common order. So that they can be compared by
    eye, the three components, at equal variance, are turned as one (Procrustes: an orthogonal 3 x 3 matrix) towards the
    colors of the classes. This changes no distance between rows. Then each channel spans its 2nd to 98th percentile.

    Args:
        rows: features of any length; values that are not finite, as a diverged network has them, count as zero.
        labels: the classes of the rows; a row with a class beyond the palette is colored like the others.
        palette: [k 3] colors of the classes.
    """
    units = F.normalize(rows.double(), dim=1).nan_to_num(0.0)
    centered = units - units.mean(dim=0)
    _, axes = torch.linalg.eigh(centered.T @ centered)
    components = centered @ axes[:, -3:]
    components = F.pad(components, (0, 3 - components.shape[1]))
    components = components / components.square().mean(dim=0).sqrt().clamp(min=_NEXT_TO_NOTHING)

    known = labels < len(palette)
    wanted = palette[labels[known]].double()
    left, _, right = torch.linalg.svd(components[known].T @ (wanted - wanted.mean(dim=0)))
    turned = components @ left @ right
    low, high = turned.quantile(turned.new_tensor([_DARKEST, _BRIGHTEST]), dim=0)
    scaled: Tensor = (turned - low) / (high - low).clamp(min=_NEXT_TO_NOTHING)
    return scaled.clamp(0, 1).mul(255).round().byte()


def _features_and_labels(net: SegNet, picture: Picture, num_classes: int) -> tuple[Tensor, Tensor]:
    """Features [d hs ws] and labels [hs ws] of the cells inside the picture, on the CPU; a void pixel has class k."""
    assert picture.labels is not None
    images = to_unit(picture.image[None], net.mean.device)
    labels = picture.labels[None].to(net.mean.device).long()
    labels = labels.masked_fill(labels == IGNORE, num_classes)  # IGNORE then marks the padding alone, which is cut off
    features, labels = on_coarse_grid(net.features(images), labels, net.stride, _CELL)
    inside = labels[0] != IGNORE
    height, width = int(inside.any(dim=1).sum()), int(inside.any(dim=0).sum())
    return features[0, :, :height, :width].cpu(), labels[0, :height, :width].cpu()
