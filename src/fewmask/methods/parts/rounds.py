"""What methods of self-training in rounds share: thresholds from the pool, and a step on labels and pseudo-labels."""

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor

from fewmask.augment import View, augment
from fewmask.data.batch import Batch
from fewmask.data.pool import Pool
from fewmask.methods.course import Step
from fewmask.methods.parts.collapse import EXCESS, excess_of
from fewmask.methods.supervised import Supervised
from fewmask.models.segnet import SegNet
from fewmask.ops.losses import cross_entropy
from fewmask.ops.self_training import confidence_counts, top_share_thresholds
from fewmask.shapes import IGNORE, Confidence, Labels, Logits, PerClass, Scalar, Valid


def learn_in_round(
    method: Supervised,
    learner: SegNet,
    batch: Batch,
    pseudo_labels: Labels,
    trust: Callable[[Logits, View], Confidence],
    confidence: Confidence | None = None,
) -> Step:
    """A step on labels and on pseudo-labels, in one pass: the loss is a mean over all of their pixels.

    Args:
        method: the method whose weak views and labeled loss are taken.
        learner: the network that learns.
        batch: a batch with unlabeled images.
        pseudo_labels: labels of the unlabeled images before augmentation.
        trust: how much each pseudo-labeled pixel of a view counts, from the learner's logits.
        confidence: confidence of the pseudo-labels, if `trust` reads it from the view.
    """
    assert batch.unlabeled is not None
    images, valid = batch.unlabeled
    view = method.view(batch)
    pseudo = augment(method.config.weak, images, pseudo_labels, method.tools.num_classes, confidence)
    logits = learner(torch.cat([view.images, pseudo.images])).logits
    labeled_logits, pseudo_logits = logits.split([len(view.images), len(images)])
    pseudo_loss = cross_entropy(pseudo_logits, pseudo.labels, pixel_weights=trust(pseudo_logits, pseudo))
    sup = method.supervised_loss(labeled_logits, view)
    losses = over_all_pixels(sup, view.labels, pseudo_loss, pseudo.labels)
    return Step(losses, {"kept": kept_share(pseudo_labels, valid), EXCESS: excess_of(pseudo_labels, method.frequency)})


@torch.no_grad()
def pool_thresholds(net: SegNet, pool: Pool, share: float, sample_every: int) -> PerClass:
    """The class thresholds that keep the top `share` of what `net`, in eval mode, predicts for the pool.

    Every `sample_every`-th pixel of an image is looked at, in rows from the top left.
    """
    counts = confidence_counts(net.mean.new_empty(0), net.mean.new_empty(0, dtype=torch.int64), net.num_classes)
    for images, valid in pool:
        confidence, classes = net(images).logits.float().softmax(dim=1).max(dim=1)
        classes = classes.masked_fill(~valid, IGNORE)
        counts += confidence_counts(
            confidence.flatten()[::sample_every], classes.flatten()[::sample_every], net.num_classes
        )
    return top_share_thresholds(counts, share)


def over_all_pixels(
    sup: Scalar, labels: Labels, pseudo: Scalar, pseudo_labels: Int64[Tensor, "u h w"]
) -> dict[str, Scalar]:
    """Turns two means, each over pixels that are not ignored, into the two parts of the mean over all these pixels."""
    num_labeled, num_pseudo = (labels != IGNORE).sum(), (pseudo_labels != IGNORE).sum()
    total = (num_labeled + num_pseudo).clamp(min=1)
    return {"sup": sup * num_labeled / total, "pseudo": pseudo * num_pseudo / total}


def kept_share(pseudo_labels: Labels, valid: Valid) -> Tensor:
    """The share of the pixels of the unlabeled images that got a label."""
    return (pseudo_labels != IGNORE).sum() / valid.sum().clamp(min=1)
