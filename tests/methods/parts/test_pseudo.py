"""Pseudo-labels: the most likely class, how sure it is, and nothing where there is no image."""

import torch

from fewmask.methods.parts.pseudo import most_likely
from fewmask.shapes import IGNORE


def test_the_most_likely_class_comes_with_its_probability() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3]).log().view(1, 3, 1, 1)
    pseudo = most_likely(logits, torch.ones(1, 1, 1, dtype=torch.bool))
    assert pseudo.labels.item() == 1
    torch.testing.assert_close(pseudo.confidence, torch.full((1, 1, 1), 0.5))


def test_pixels_outside_the_image_have_neither_pseudo_label_nor_confidence() -> None:
    valid = torch.rand(2, 6, 8) < 0.5
    pseudo = most_likely(torch.randn(2, 4, 6, 8), valid)
    assert torch.equal(pseudo.labels != IGNORE, valid)
    assert torch.equal(pseudo.confidence > 0, valid)


def test_only_sure_pixels_inside_the_image_keep_their_label() -> None:
    logits, valid = torch.zeros(2, 4, 32, 48), torch.ones(2, 32, 48, dtype=torch.bool)
    logits[:, 2, :16] = 6.0  # a confidence of 0.99
    logits[:, 1, 16:] = 3.0  # a confidence of 0.87
    valid[:, :, 40:] = False
    labels = most_likely(logits, valid).surer_than(0.9)
    assert (labels[:, :16, :40] == 2).all()
    assert (labels[:, 16:] == IGNORE).all()
    assert (labels[:, :, 40:] == IGNORE).all()


def test_no_gradient_reaches_the_logits_and_half_precision_gives_float32() -> None:
    logits = torch.randn(1, 3, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    pseudo = most_likely(logits, torch.ones(1, 2, 2, dtype=torch.bool))
    assert not pseudo.confidence.requires_grad
    assert pseudo.confidence.dtype == torch.float32


def test_a_mean_over_images_leaves_padding_out() -> None:
    logits = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(2, 2, 3, 4)
    valid = torch.zeros(2, 3, 4, dtype=torch.bool)
    valid[0, :2] = True
    pseudo = most_likely(logits, valid)
    probability = torch.tensor(1.0).sigmoid()
    torch.testing.assert_close(pseudo.mean_over_images(pseudo.confidence), probability)
    torch.testing.assert_close(pseudo.mean_over_images(pseudo.labels == 0), torch.tensor(1.0))
    nothing = most_likely(logits, torch.zeros_like(valid))
    assert nothing.mean_over_images(nothing.confidence) == 0
