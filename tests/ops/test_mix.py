"""ClassMix: half of the classes of one image, with all that belongs to them, pasted into its neighbor."""

import pytest
import torch

from fewmask.ops.mix import draw_class_mask, paste_classes
from fewmask.shapes import IGNORE

K = 6


def random_labels(num_images=20, side=8):
    """Images of 1 to 6 classes, a part of them ignored."""
    labels = torch.stack([torch.randint(0, 1 + image % K, (side, side)) for image in range(num_images)])
    return labels.masked_fill(torch.rand(labels.shape) < 0.2, IGNORE)


def marked_maps(labels):
    """Images and confidence that say which image of the batch they come from."""
    marks = (torch.arange(len(labels)) / len(labels))[:, None, None].expand(labels.shape)
    return marks[:, None].repeat(1, 3, 1, 1), marks.clone()


def test_half_of_the_classes_are_chosen_whole_and_nothing_ignored():
    labels = random_labels()
    for image, mask in zip(labels, draw_class_mask(labels, K, probability=1.0), strict=True):
        present = set(image.unique().tolist()) - {IGNORE}
        chosen = set(image[mask].unique().tolist())
        assert len(chosen) == len(present) // 2
        assert torch.equal(mask, torch.isin(image, torch.tensor(sorted(chosen), dtype=torch.int64)))


def test_every_class_is_chosen_about_half_of_the_time():
    labels = torch.arange(4).expand(2000, 1, 4)
    shares = draw_class_mask(labels, K, probability=1.0).float().mean(dim=0).flatten()
    assert shares.tolist() == pytest.approx([0.5] * 4, abs=0.05)


def test_the_probability_holds_per_image():
    labels = torch.arange(4).expand(2000, 1, 4)
    chosen = draw_class_mask(labels, K, probability=0.3).flatten(1).any(dim=1)
    assert chosen.float().mean().item() == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("label", [0, 3, IGNORE])
def test_an_image_of_one_class_or_none_gives_nothing(label):
    assert not draw_class_mask(torch.full((3, 4, 4), label), K, probability=1.0).any()
    assert not draw_class_mask(torch.full((1, 1, 1), label), K, probability=1.0).any()


def test_probability_zero_is_the_identity():
    labels = random_labels()
    images, confidence = marked_maps(labels)
    mixed = paste_classes(images, labels, confidence, K, probability=0.0)
    assert all(torch.equal(*pair) for pair in zip(mixed, (images, labels, confidence), strict=True))


def test_image_labels_and_confidence_come_from_the_same_neighbor():
    labels = random_labels()
    images, confidence = marked_maps(labels)
    mixed_images, mixed_labels, mixed_confidence = paste_classes(images, labels, confidence, K, probability=1.0)
    assert torch.equal(mixed_images[:, 0], mixed_confidence)
    num_pasted = 0
    for index in range(len(labels)):
        pasted = mixed_confidence[index] != confidence[index]
        assert (mixed_confidence[index][pasted] == confidence[index - 1][pasted]).all()
        assert (mixed_labels[index][pasted] == labels[index - 1][pasted]).all()
        assert (mixed_labels[index][~pasted] == labels[index][~pasted]).all()
        assert (mixed_labels[index][pasted] != IGNORE).all()
        num_pasted += int(pasted.sum())
    assert num_pasted > 0


def test_two_images_of_two_classes_exchange_one_each():
    labels = torch.tensor([[[0, 1]], [[2, 3]]])
    images, confidence = marked_maps(labels)
    _, mixed, _ = paste_classes(images, labels, confidence, K, probability=1.0)
    assert mixed[0].flatten().tolist() in ([2, 1], [0, 3])
    assert mixed[1].flatten().tolist() in ([0, 3], [2, 1])


def test_an_image_alone_is_its_own_neighbor():
    labels = random_labels(num_images=6)[5:]
    images, confidence = torch.rand(1, 3, 8, 8), torch.rand(1, 8, 8)
    mixed = paste_classes(images, labels, confidence, K, probability=1.0)
    assert all(torch.equal(*pair) for pair in zip(mixed, (images, labels, confidence), strict=True))


def test_half_precision_is_kept():
    labels = random_labels()
    images, confidence = (maps.bfloat16() for maps in marked_maps(labels))
    mixed_images, _, mixed_confidence = paste_classes(images, labels, confidence, K, probability=1.0)
    assert mixed_images.dtype == mixed_confidence.dtype == torch.bfloat16
    assert torch.equal(mixed_images[:, 0], mixed_confidence)
