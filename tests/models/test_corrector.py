"""The corrector: what it takes and gives, and the pass that does not train it."""

import pytest
import torch
from torch import Tensor

from fewmask.errors import UserError
from fewmask.models.corrector import Corrector
from fewmask.models.discriminator import held_constant
from grad_of import grad_of


@pytest.fixture(scope="module")
def corrector() -> Corrector:
    return Corrector("test_resnet", num_classes=4)


def pair(num_images: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Images, and probabilities of four classes."""
    return torch.rand(num_images, 3, height, width), torch.randn(num_images, 4, height, width).softmax(dim=1)


@pytest.mark.parametrize("size", [(32, 48), (17, 31), (16, 16)])
def test_images_of_any_size_get_a_logit_of_every_class_and_of_being_correct_at_every_pixel(
    corrector: Corrector, size: tuple[int, int]
) -> None:
    assert corrector(*pair(2, *size)).shape == (2, 5, *size)


def test_it_sees_the_image_and_the_segmentation(corrector: Corrector) -> None:
    images, probabilities = pair(2, 32, 48)
    answer = corrector(images, probabilities)
    assert not torch.allclose(answer, corrector(images.flip(3), probabilities), atol=1e-3)
    assert not torch.allclose(answer, corrector(images, probabilities.roll(1, dims=1)), atol=1e-3)


def test_a_judgment_is_no_draw(corrector: Corrector) -> None:
    images, probabilities = pair(2, 32, 48)
    torch.testing.assert_close(corrector(images, probabilities), corrector(images, probabilities))


def test_held_constant_it_says_the_same_and_neither_weights_nor_running_statistics_change(corrector: Corrector) -> None:
    images, probabilities = pair(2, 32, 48)
    probabilities.requires_grad_()
    before = {name: buffer.clone() for name, buffer in corrector.named_buffers()}
    answer = held_constant(corrector, images, probabilities)
    assert all(torch.equal(buffer, before[name]) for name, buffer in corrector.named_buffers())
    answer.square().sum().backward()
    assert grad_of(probabilities).any()
    assert all(parameter.grad is None for parameter in corrector.parameters())
    torch.testing.assert_close(answer, corrector(images, probabilities))
    assert any(not torch.equal(buffer, before[name]) for name, buffer in corrector.named_buffers())


def test_a_batch_of_one_is_refused(corrector: Corrector) -> None:
    with pytest.raises(UserError, match="at least two labeled and two unlabeled"):
        corrector(*pair(1, 32, 48))


def test_an_unknown_encoder_is_named_as_the_correctors() -> None:
    with pytest.raises(UserError, match=r"^method\.corrector_encoder: encoder 'resnet81' is not known"):
        Corrector("resnet81", num_classes=4)
