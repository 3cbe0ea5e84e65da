"""The contrast of labeled pixels with distorted copies: within an image, across two images, over the mini-batch.

Zhao et al., Contrastive Learning for Label Efficient Semantic Segmentation, ICCV 2021; and the two losses that the
authors released, which differ (google-research, supervised_pixel_contrastive_loss/contrastive_loss.py).

With unit vectors f and s_pq = <f_p, f_q> / temperature, a loss is a mean over anchors p of the mean over positives q,
which are keys of the class of p, of
    paper:     log(sum_k exp s_pk) - s_pq               k: all keys of the anchor's image, and positives of its partner
    released:  log(exp s_pq + sum_k exp s_pk) - s_pq    k: keys of the anchor's image that are of another class
The sum of s_pq over q is <f_p, sum_q f_q> / temperature: the paper's losses need every pair only for the logarithm.

Images in which no pixel counts add 0, and the mean still runs over all images, as in the released code; the paper's
equations are for one image.
"""

from typing import Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.contrast.blocks import NEVER, Place, blockwise_sum, log_sum_exp
from fewmask.ops.unit import unit
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
    """Contrasts pixels with pixels of the same image: the mean over images of the mean over anchors.

    In `paper`, anchors are the pixels of the image, and keys are the pixels of its distorted copy. In `released`,
    anchors and keys are the pixels of the image, and the same loss of the copy is added; a pixel is its own positive.

    Args:
        features: [b d h w] of the images, of any length; half precision is computed in float32.
        distorted_features: [b d h w] of the images' distorted copies.
        labels: [b h w] in 0..254, or IGNORE for pixels that are neither anchors nor keys.
        temperature: above 0; 0.07 in the released code.
        variant: "paper" or "released".
        distorted_labels: [b h w] of the copies if their geometry differs, which it does not in the paper. Anchors that
            are left without positives take no part in the mean.

    Returns:
        A scalar, at least 0; 0 if no pixel counts.
    """
    with torch.autocast(features.device.type, enabled=False):
        both = _pixels(features, distorted_features, labels, distorted_labels)
        if variant == "released":
            return _released(both, None, temperature)
        return _paper(*both.halves(), None, temperature)


def cross_image_contrast(
    features: Maps,
    distorted_features: Maps,
    labels: Labels,
    partners: Int64[Tensor, " b"],
    temperature: float,
    variant: Variant = "paper",
    distorted_labels: Labels | None = None,
) -> Scalar:
    """Contrasts pixels as within an image, with positives, but no negatives, from a partner's distorted copy too.

    paper: keys of the partner's copy that are of the anchor's class are positives too, and join the anchor's
        denominator.
    released: an image and its partner's copy are one set of pixels, all of them anchors; positives are from the whole
        set, negatives from the anchor's own side.

    Args:
        features, distorted_features, labels, temperature, variant, distorted_labels: as in `within_image_contrast`.
        partners: [b] a permutation of 0..b-1, which the caller draws. If an image is its own partner, the
            positives of its copy count twice in the paper's loss, as in the paper's sums.
    """
    with torch.autocast(features.device.type, enabled=False):
        images, copies = _pixels(features, distorted_features, labels, distorted_labels).halves()
        if variant == "released":
            others = copies.of(partners)
            return _released(images.and_also(others), others.and_also(images), temperature)
        return _paper(images, copies, partners, temperature)


def batch_contrast(features: Maps, distorted_features: Maps, labels: Labels, temperature: float) -> Scalar:
    """All pixels of the mini-batch as one bag: anchors are pixels of the images, keys are pixels of all copies.

    The mean runs over the anchors of the bag. Arguments are as in `within_image_contrast`. The released code has no
    such loss.
    """
    with torch.autocast(features.device.type, enabled=False):
        images, copies = _pixels(features, distorted_features, labels, None).halves()
        return _paper(images.as_bag(), copies.as_bag(), None, temperature)


class _Pixels(NamedTuple):
    """The pixels of g images or bags: unit vectors and classes."""

    vectors: Float[Tensor, "g n d"]
    classes: Int64[Tensor, "g n"]

    @property
    def labeled(self) -> Bool[Tensor, "g n"]:
        return self.classes != IGNORE

    @property
    def bins(self) -> Int64[Tensor, "g n"]:
        """One number for each class of each group."""
        return self.classes + (IGNORE + 1) * torch.arange(len(self.classes), device=self.classes.device)[:, None]

    def of(self, images: Int64[Tensor, " g"]) -> "_Pixels":
        return _Pixels(*(values.index_select(0, images) for values in self))

    def halves(self) -> tuple["_Pixels", "_Pixels"]:
        vectors, classes = self.vectors.chunk(2), self.classes.chunk(2)
        return _Pixels(vectors[0], classes[0]), _Pixels(vectors[1], classes[1])

    def and_also(self, others: "_Pixels") -> "_Pixels":
        return _Pixels(*map(torch.cat, zip(self, others, strict=True)))

    def beside(self, others: "_Pixels") -> "_Pixels":
        return _Pixels(*(torch.cat(pair, dim=1) for pair in zip(self, others, strict=True)))

    def as_bag(self) -> "_Pixels":
        return _Pixels(rearrange(self.vectors, "g n d -> 1 (g n) d"), rearrange(self.classes, "g n -> 1 (g n)"))


def _pixels(features: Maps, distorted_features: Maps, labels: Labels, distorted_labels: Labels | None) -> _Pixels:
    """The pixels of the images, then of their copies.

    They are normalized together, for fewer launches. Every pixel's vector lies in one piece, which is faster to
    normalize and to sum than a map.
    """
    both = torch.cat([rearrange(maps, "g d h w -> g (h w) d") for maps in (features, distorted_features)])
    classes = torch.cat([labels, labels if distorted_labels is None else distorted_labels])
    return _Pixels(unit(both), classes.flatten(1))


def _paper(anchors: _Pixels, copies: _Pixels, partners: Tensor | None, temperature: float) -> Tensor:
    keys, num_own = copies, copies.classes.shape[1]
    bins, labeled = copies.bins, copies.labeled
    positives, counts = _class_sums(copies.vectors, bins), _class_sums(labeled[:, :, None].to(copies.vectors), bins)
    if partners is not None:
        keys = copies.beside(copies.of(partners))
        positives, counts = (sums + sums.index_select(0, partners) for sums in (positives, counts))
    ignored = ~labeled[:, None]

    def log_denominators(logits: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        groups, _ = place
        logits[:, :, :num_own].masked_fill_(ignored[groups], NEVER)
        if partners is not None:
            differ = anchors.classes[place][:, :, None] != keys.classes[groups, None, num_own:]
            logits[:, :, num_own:].masked_fill_(differ, NEVER)
        return log_sum_exp(logits)

    # An anchor has no positives if it is ignored, for IGNORE counts none, or if the copies lack its class.
    takes_part = counts.squeeze(2).gather(1, anchors.classes) > 0
    weights = _weights(takes_part, takes_part, positives)
    scaled = anchors.vectors / temperature
    attraction = _class_sums(weights[:, :, None] * scaled, anchors.bins) * positives / counts.clamp(min=1)
    return blockwise_sum(scaled, keys.vectors, weights, log_denominators) - attraction.sum()


def _released(own: _Pixels, others: _Pixels | None, temperature: float) -> Tensor:
    """The sum of two means over the images, one over anchors in the first half of `own`, one in the second half.

    The halves are the images and their copies. Across images they are the images and the partners' copies, and
    `others` has the second half first.
    """
    keys, num_own = own if others is None else own.beside(others), own.classes.shape[1]
    counts = _class_sums(keys.labeled[:, :, None].to(keys.vectors), keys.bins).squeeze(2)
    num_positives = counts.gather(1, own.classes).clamp(min=1)[:, :, None]
    ignored = ~own.labeled[:, None]

    def pair_terms(logits: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        groups, _ = place
        same = own.classes[place][:, :, None] == keys.classes[groups, None]
        negatives = logits[:, :, :num_own].masked_fill(same[:, :, :num_own] | ignored[groups], NEVER)
        log_negatives, softmax = log_sum_exp(negatives)
        margins = torch.sub(log_negatives[:, :, None], logits, out=logits).masked_fill_(~same, NEVER)
        # Beyond its threshold softplus is its argument: at the default, 20, that would be 2e-9 off.
        values = F.softplus(margins, threshold=50).sum(dim=2, keepdim=True) / num_positives[place]
        # Gradients at the positives; those at the negatives go through the log-sum-exp, whose gradient is the softmax.
        slopes = margins.sigmoid_()
        through = slopes.sum(dim=2, keepdim=True) / num_positives[place]
        slopes.div_(-num_positives[place])
        slopes[:, :, :num_own].addcmul_(softmax, through)
        return values.squeeze(2), slopes

    weights = 2 * _weights(own.labeled, keys.labeled, own.vectors)
    return blockwise_sum(own.vectors / temperature, keys.vectors, weights, pair_terms)


def _class_sums(rows: Tensor, bins: Tensor) -> Tensor:
    """The sums [g 256 d] of the rows [g n d] of each class; IGNORE has the last place."""
    num_groups, _, dim = rows.shape
    sums = rows.new_zeros(num_groups * (IGNORE + 1), dim).index_add(0, bins.flatten(), rows.flatten(0, 1))
    return sums.view(num_groups, IGNORE + 1, dim)


def _weights(takes_part: Tensor, among: Tensor, like: Tensor) -> Tensor:
    """Weights [g n] of the anchors that take part: for the mean over `among` in an image, then over the images."""
    return takes_part.to(like) / among.sum(dim=1, keepdim=True).clamp(min=1) / len(takes_part)
