"""The contrast of labeled pixels with distorted copies: within an image, across two images, over the mini-batch.

Zhao et al., Contrastive Learning for Label Efficient Semantic Segmentation, ICCV 2021; and the two losses that the
authors released, which differ (google-research, supervised_pixel_contrastive_loss/contrastive_loss.py).

With unit vectors f and s_pq = <f_p, f_q> / temperature, a loss is a mean over anchors p of the mean over positives q,
which are keys of the class of p, of
    paper:     log(sum_k exp s_pk) - s_pq               k: all keys of the anchor's image, and positives of its partner
    released:  log(exp s_pq + sum_k exp s_pk) - s_pq    k: keys of the anchor's image that are of another class
The sum of s_pq over q is <f_p, sum_q f_q> / temperature: the paper's losses need every pair only for the logarithm.

Images in which no pixel counts add 0, and the mean still runs over all images: so it is in the released code, and the
paper's equations are for one image.
"""

from typing import Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.contrast.blocks import NEVER, Place, blockwise_sum, log_sum_exp_
from fewmask.shapes import IGNORE, Labels, Scalar

Variant = Literal["paper", "released"]
Maps = Float[Tensor, "b d h w"]


def within_image_contrast(
    features: Maps,
    distorted_features: Maps,
    labels: Labels,
    temperature: float,
    variant: Variant = "paper",
    distorted_labels: Labels | None = None,
) -> Scalar:
    """Pixels against those of the same image; the mean over images of the mean over anchors.

    paper: anchors are the pixels of the image, keys those of its distorted copy.
    released: anchors and keys are the pixels of the image; plus the same of the copy. A pixel is its own positive.

    Args:
        features: [b d h w] of the images, of any length; half precision is computed in float32.
        distorted_features: [b d h w] of their distorted copies.
        labels: [b h w] in 0..254, or IGNORE for pixels that are neither anchors nor keys.
        temperature: above 0; 0.07 in the released code.
        variant: "paper" or "released".
        distorted_labels: [b h w] of the copies if their geometry differs. In the paper it does not; anchors that are
            left without positives take no part in the mean.

    Returns:
        A scalar, at least 0; 0 if no pixel counts.
    """
    with torch.autocast(features.device.type, enabled=False):
        images = _pixels(features, labels)
        copies = _pixels(distorted_features, labels if distorted_labels is None else distorted_labels)
        if variant == "released":
            return _released(images, None, temperature) + _released(copies, None, temperature)
        return _paper(images, copies, None, temperature)


def cross_image_contrast(
    features: Maps,
    distorted_features: Maps,
    labels: Labels,
    partners: Int64[Tensor, " b"],
    temperature: float,
    variant: Variant = "paper",
    distorted_labels: Labels | None = None,
) -> Scalar:
    """The same with positives, but no negatives, from the distorted copy of a partner image.

    paper: as within an image, and the keys of the partner's copy that are of the anchor's class are positives too and
        join its denominator.
    released: an image and its partner's copy are one set of pixels, all of them anchors; positives are from the whole
        set, negatives from the anchor's own side.

    Args:
        features, distorted_features, labels, temperature, variant, distorted_labels: as in `within_image_contrast`.
        partners: [b] a permutation of 0..b-1, which the caller draws. With an image that is its own partner the
            positives of its copy count twice in the paper's loss, as its sums are written.
    """
    with torch.autocast(features.device.type, enabled=False):
        images = _pixels(features, labels)
        copies = _pixels(distorted_features, labels if distorted_labels is None else distorted_labels)
        if variant == "released":
            others = copies.of(partners)
            return _released(images, others, temperature) + _released(others, images, temperature)
        return _paper(images, copies, partners, temperature)


def batch_contrast(features: Maps, distorted_features: Maps, labels: Labels, temperature: float) -> Scalar:
    """All pixels of the mini-batch as one bag: anchors are those of the images, keys those of all distorted copies.

    The mean runs over the anchors of the bag. Arguments as in `within_image_contrast`; the released code has no such
    loss.
    """
    with torch.autocast(features.device.type, enabled=False):
        bag, copies = _pixels(features, labels).as_bag(), _pixels(distorted_features, labels).as_bag()
        return _paper(bag, copies, None, temperature)


class _Pixels(NamedTuple):
    """The pixels of g images or bags: unit vectors and classes."""

    vectors: Float[Tensor, "g n d"]
    classes: Int64[Tensor, "g n"]

    @property
    def labeled(self) -> Bool[Tensor, "g n"]:
        return self.classes != IGNORE

    def of(self, images: Int64[Tensor, " g"]) -> "_Pixels":
        return _Pixels(self.vectors[images], self.classes[images])

    def beside(self, others: "_Pixels") -> "_Pixels":
        return _Pixels(*(torch.cat(pair, dim=1) for pair in zip(self, others, strict=True)))

    def as_bag(self) -> "_Pixels":
        return _Pixels(rearrange(self.vectors, "g n d -> 1 (g n) d"), rearrange(self.classes, "g n -> 1 (g n)"))


def _pixels(features: Maps, labels: Labels) -> _Pixels:
    at_least_float32 = features.to(torch.promote_types(features.dtype, torch.float32))
    vectors = rearrange(F.normalize(at_least_float32, dim=1), "b d h w -> b (h w) d")
    return _Pixels(vectors, rearrange(labels, "b h w -> b (h w)"))


def _paper(anchors: _Pixels, copies: _Pixels, partners: Tensor | None, temperature: float) -> Tensor:
    keys, num_own = copies, copies.classes.shape[1]
    positives = _class_sums(copies.vectors, copies.classes)
    counts = _class_sums(copies.labeled[:, :, None].to(positives), copies.classes)
    if partners is not None:
        keys = copies.beside(copies.of(partners))
        positives, counts = positives + positives[partners], counts + counts[partners]
    ignored = _ignored(copies)

    def log_denominators(logits: Tensor, place: Place) -> Tensor:
        groups, _ = place
        logits[:, :, :num_own] += ignored[groups]
        if partners is not None:
            differ = anchors.classes[place][:, :, None] != keys.classes[groups, None, num_own:]
            logits[:, :, num_own:].masked_fill_(differ, NEVER)
        return log_sum_exp_(logits)

    # Without positives are ignored anchors, for IGNORE counts none, and those whose class labels of the copies lack.
    takes_part = counts.squeeze(2).gather(1, anchors.classes) > 0
    weights = _weights(takes_part, takes_part, positives)
    scaled = anchors.vectors / temperature
    attraction = _class_sums(weights[:, :, None] * scaled, anchors.classes) * positives / counts.clamp(min=1)
    return blockwise_sum(scaled, keys.vectors, weights, log_denominators) - attraction.sum()


def _released(own: _Pixels, others: _Pixels | None, temperature: float) -> Tensor:
    """What the anchors in `own` add to the mean over all anchors of the set."""
    keys, num_own = own if others is None else own.beside(others), own.classes.shape[1]
    ignored = _ignored(own)

    def pair_terms(logits: Tensor, place: Place) -> Tensor:
        groups, _ = place
        differ = own.classes[place][:, :, None] != keys.classes[groups, None]
        num_positives = (~differ).sum(dim=2)
        negatives = (logits[:, :, :num_own] + ignored[groups]).masked_fill_(~differ[:, :, :num_own], NEVER)
        margins = logits.sub_(log_sum_exp_(negatives)[:, :, None])
        values = F.logsigmoid(margins).masked_fill_(differ, 0).sum(dim=2) / -num_positives
        # The gradients at the positives, and through the logarithm, whose own are the softmax, at the negatives.
        margins.neg_().sigmoid_().masked_fill_(differ, 0).div_(-num_positives[:, :, None])
        negatives.mul_(-margins.sum(dim=2, keepdim=True))
        logits[:, :, :num_own] += negatives
        return values

    weights = _weights(own.labeled, keys.labeled, own.vectors)
    return blockwise_sum(own.vectors / temperature, keys.vectors, weights, pair_terms)


def _class_sums(rows: Tensor, classes: Tensor) -> Tensor:
    """[g 256 d] the sum of the rows [g n d] of each class, and of IGNORE in the last place."""
    num_bins = IGNORE + 1
    bins = classes + num_bins * torch.arange(len(classes), device=classes.device)[:, None]
    sums = rows.new_zeros(len(classes) * num_bins, rows.shape[2])
    sums = sums.index_add(0, rearrange(bins, "g n -> (g n)"), rearrange(rows, "g n d -> (g n) d"))
    return rearrange(sums, "(g k) d -> g k d", k=num_bins)


def _weights(takes_part: Tensor, among: Tensor, like: Tensor) -> Tensor:
    """[g n] of the anchors that take part, in the mean over all of `among` in the image, and then over the images."""
    return takes_part.to(like) / among.sum(dim=1, keepdim=True).clamp(min=1) / len(takes_part)


def _ignored(keys: _Pixels) -> Tensor:
    """[g 1 n] to be added to logits."""
    return torch.where(keys.labeled, 0.0, NEVER)[:, None].to(keys.vectors)
