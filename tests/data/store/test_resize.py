"""Resizing of images and labels to the size of a training."""

import pytest
import torch

from fewmask.data.store import resized_images, resized_labels, target_size
from fewmask.errors import UserError


def test_a_size_is_rounded_and_at_least_one_pixel() -> None:
    assert target_size((48, 64), 1 / 3) == (16, 21)
    assert target_size((48, 64), 0.001) == (1, 1)
    assert target_size((48, 64), None) == (48, 64)
    assert target_size((48, 64), (5, 7)) == (5, 7)


def test_an_image_of_a_single_pixel_is_refused_unless_it_was_one() -> None:
    assert resized_images(torch.zeros(3, 1, 1, dtype=torch.uint8), 0.5).shape == (3, 1, 1)
    with pytest.raises(UserError, match=r"data.resize: an image shrinks to a single pixel"):
        resized_images(torch.zeros(3, 48, 64, dtype=torch.uint8), 0.001)


def test_resized_labels_are_classes_that_were_there() -> None:
    labels = torch.tensor([[0, 0, 9, 9], [0, 0, 9, 9]], dtype=torch.uint8)
    assert resized_labels(labels, 0.5).tolist() == [[0, 9]]
    assert set(resized_labels(labels, 2.0).flatten().tolist()) == {0, 9}


def test_resized_images_are_means() -> None:
    image = torch.tensor([[0, 0, 200, 200], [100, 100, 200, 200]], dtype=torch.uint8).expand(3, -1, -1).contiguous()
    assert resized_images(image, 0.5).float().mean().item() == pytest.approx(125, abs=2)


@pytest.mark.parametrize("resize", [0.37, 1.9, (20, 90)])
def test_a_batch_is_resized_as_its_images_alone_in_either_memory_format(resize: float | tuple[int, int]) -> None:
    images = torch.randint(0, 256, (5, 3, 50, 70), dtype=torch.uint8)
    alone = torch.stack([resized_images(image, resize) for image in images])
    assert torch.equal(resized_images(images, resize), alone)
    assert torch.equal(resized_images(images.to(memory_format=torch.channels_last), resize), alone)
