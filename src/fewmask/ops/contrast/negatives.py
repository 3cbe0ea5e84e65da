"""Contrasts of pixels with positives of their class and negatives of others: PixCon's, U2PL's and ReCo's losses.

A pixel is an anchor, and s is its cosine with a key over the temperature. Gradients go to the anchors alone.
    PixCon:         -log(sum of exp s over the bank's rows of its class / sum of exp s over all rows of the bank)
    U2PL and ReCo:  -log(exp s of the mean of its class / (the same + sum of exp s over drawn negatives))

PixCon, 2026, https://arxiv.org/abs/2607.03068.
Wang et al., Semi-Supervised Semantic Segmentation Using Unreliable Pseudo-Labels (U2PL), CVPR 2022,
https://arxiv.org/abs/2203.03884.
Liu et al., Bootstrapping Semantic Segmentation with Regional Contrast (ReCo), ICLR 2022,
https://arxiv.org/abs/2104.04465.
"""

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from fewmask.ops.contrast.blocks import NEVER, Place, blockwise_rows, log_sum_exp
from fewmask.ops.sampling import Drawn
from fewmask.ops.unit import unit
from fewmask.shapes import RowClasses, Rows, Scalar

Draws = Int64[Tensor, "k q j"]


def contrast_with_all_classes(
    anchors: Rows,
    classes: RowClasses,
    bank: Float[Tensor, "k m d"],
    in_use: Bool[Tensor, "k m"],
    temperature: float,
) -> Scalar:
    """The mean over anchors of minus the logarithm of the share that their class has of the bank's similarities.

    Its memory is linear in the number of anchors and of rows, so that it serves a few anchors (PixCon) and all pixels.

    Args:
        anchors: vectors of any length; half precision is computed in float32.
        classes: 0..k-1; rows of any other value (IGNORE) are no anchors.
        bank: vectors of any length by class.
        in_use: which rows of the bank are read.
        temperature: above 0.

    Returns:
        A scalar, at least 0. Anchors whose class has no row in the bank take no part; 0 if none is left.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        num_classes, num_slots = in_use.shape
        keys, used = unit(bank.flatten(0, 1)), in_use.flatten()
        key_classes = torch.arange(num_classes, device=classes.device).repeat_interleave(num_slots)

        def log_shares(logits: Tensor, place: Place) -> tuple[Tensor, Tensor]:
            _, rows = place
            own = classes[rows, None] == key_classes
            logits.masked_fill_(~used, NEVER)
            of_own, own_slope = log_sum_exp(logits.masked_fill(~own, NEVER))
            of_all, slope = log_sum_exp(logits)
            return of_all - of_own, slope.sub_(own_slope)

        values = blockwise_rows(unit(anchors)[None] / temperature, keys[None], log_shares)[0]
        known = (classes >= 0) & (classes < num_classes)
        counts = known & in_use.any(dim=1)[classes.masked_fill(~known, 0)]
        return torch.where(counts, values, 0.0).sum() / counts.sum().clamp(min=1)


def contrast_with_drawn_keys(
    anchors: Rows,
    drawn: Drawn,
    positives: Float[Tensor, "k d"],
    bank: Float[Tensor, "k m d"],
    filled: Int64[Tensor, " k"],
    negatives: Draws,
    present: Bool[Tensor, " k"],
    temperature: float,
) -> Scalar:
    """U2PL's contrast: the negatives of a class lie in a bank of its own, and each anchor has drawn j of them.

    Args:
        anchors: the n rows that were drawn from, of any length; half precision is computed in float32.
        drawn: the anchors of each class.
        positives: the mean of each class.
        bank: the negatives of each class, of length 1.
        filled: how many rows of the bank are in use.
        negatives: for each anchor the rows of its class's bank; each is read even where nothing is filled.
        present: the classes over which the mean is taken.
        temperature: above 0.

    Returns:
        A scalar, at least 0: the mean over the classes present of the mean over their anchors. A class without anchors,
        or whose bank is empty, adds 0.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        rows = unit(anchors[drawn.rows]) / temperature
        place = torch.arange(len(bank), device=bank.device)[:, None, None]
        pushes = einsum(rows, bank[place, negatives], "k q d, k q j d -> k q j").logsumexp(dim=2)
        return _class_mean(rows, positives, pushes, drawn.found & (filled > 0)[:, None], present)


def regional_contrast(
    anchors: Rows,
    drawn: Drawn,
    positives: Float[Tensor, "k d"],
    negatives: Draws,
    present: Bool[Tensor, " k"],
    temperature: float,
) -> Scalar:
    """ReCo's contrast: the negatives of an anchor are j drawn pixels of other classes among the same rows.

    Args:
        anchors: the n rows that were drawn from, of any length; half precision is computed in float32.
        drawn: the anchors of each class.
        positives: the mean of each class.
        negatives: for each anchor the rows that it is pushed from.
        present: the classes that have pixels. With fewer than two there are no negatives, and the loss is 0.
        temperature: above 0.

    Returns:
        A scalar, at least 0: the mean over the classes present of the mean over their anchors.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        rows, flat = unit(anchors[drawn.rows]) / temperature, negatives.flatten(0, 1)

        def log_pushes(logits: Tensor, place: Place) -> tuple[Tensor, Tensor]:
            _, part = place
            chosen = flat[None, part].expand(len(logits), -1, -1)
            values, slopes = log_sum_exp(logits.gather(2, chosen))
            return values, torch.zeros_like(logits).scatter_add_(2, chosen, slopes)

        pushes = blockwise_rows(rows.flatten(0, 1)[None], unit(anchors.detach())[None], log_pushes)
        counted = drawn.found & (present.sum() > 1)
        return _class_mean(rows, positives, pushes.view(drawn.found.shape), counted, present)


def other_class_draws(
    classes: RowClasses,
    means: Float[Tensor, "k d"],
    present: Bool[Tensor, " k"],
    shape: tuple[int, int],
    softness: float,
) -> Draws:
    """Rows of other classes for q anchors of each class: first a class, by its similarity, then one of its rows.

    Args:
        classes: 0..k-1; rows of any other value are never drawn.
        means: the mean of each class.
        present: the classes that have rows.
        shape: q and j, the number of anchors of a class and of their negatives.
        softness: a class is drawn with a probability proportional to exp(cosine / softness).

    Returns:
        Indices of rows; of any rows where no other class is present.
    """
    num_classes = len(means)
    directions = unit(means)
    itself = torch.eye(num_classes, dtype=torch.bool, device=means.device)
    with torch.autocast(means.device.type, enabled=False):
        similarity = directions @ directions.T
    logits = (similarity / softness).masked_fill(itself | ~present, NEVER)
    upper = logits.softmax(dim=1).cumsum(dim=1)
    upper = upper / upper[:, -1:]
    ticket = torch.rand(num_classes, shape[0] * shape[1], device=means.device)
    other = torch.searchsorted(upper, ticket, right=True).clamp(max=num_classes - 1)

    known = (classes >= 0) & (classes < num_classes)
    slot = classes.masked_fill(~known, num_classes)
    order = slot.argsort(stable=True)
    sizes = torch.zeros(num_classes + 1, dtype=torch.int64, device=classes.device)
    sizes.scatter_add_(0, slot, torch.ones_like(slot))
    starts, size = (sizes.cumsum(dim=0) - sizes)[other], sizes[other]
    place = torch.minimum((torch.rand_like(ticket) * size).long(), (size - 1).clamp(min=0))
    return order[(starts + place).clamp(max=len(classes) - 1)].view(num_classes, *shape)


def _class_mean(
    rows: Float[Tensor, "k q d"],
    positives: Float[Tensor, "k d"],
    pushes: Float[Tensor, "k q"],
    counted: Bool[Tensor, "k q"],
    present: Bool[Tensor, " k"],
) -> Scalar:
    """The mean over the classes present of the mean of -log(exp pull / (exp pull + exp push)) over counted anchors."""
    pulls = einsum(rows, unit(positives.detach()).to(rows), "k q d, k d -> k q")
    each = torch.where(counted, F.softplus(pushes - pulls), 0.0)
    of_classes = each.sum(dim=1) / counted.sum(dim=1).clamp(min=1)
    return torch.where(present, of_classes, 0.0).sum() / present.sum().clamp(min=1)
