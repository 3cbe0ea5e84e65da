"""The discriminators: what they score, what they are shown for labels, and the pass that holds them constant."""

import pytest
import torch
from torch.nn import functional as F

from fewmask.models.discriminator import (
    ClassVectorDiscriminator,
    ImageDiscriminator,
    MapDiscriminator,
    held_constant,
    label_maps,
)
from fewmask.shapes import IGNORE
from grad_of import grad_of


@pytest.mark.parametrize(
    ("size", "grid"), [((32, 48), (1, 1)), ((64, 100), (2, 3)), ((95, 128), (2, 4)), ((20, 9), (1, 1))]
)
def test_a_map_gets_a_score_and_a_place_in_the_mask_for_every_patch(
    size: tuple[int, int], grid: tuple[int, int]
) -> None:
    scores = MapDiscriminator(3)(torch.rand(2, 3, *size))
    assert scores.shape == (2, *grid)
    assert MapDiscriminator.in_image(torch.ones(2, *size, dtype=torch.bool)).shape == scores.shape


def test_a_patch_is_in_the_image_if_its_center_is() -> None:
    valid = torch.ones(1, 64, 96, dtype=torch.bool)
    valid[:, :, 48:] = False
    assert MapDiscriminator.in_image(valid).tolist() == [[[True, False, False], [True, False, False]]]
    valid[:, :, 48] = True
    assert MapDiscriminator.in_image(valid).tolist() == [[[True, True, False], [True, True, False]]]


def test_the_layers_of_the_map_discriminator_are_those_of_the_paper() -> None:
    shapes = [tuple(layer.weight.shape) for layer in MapDiscriminator(19).layers if isinstance(layer, torch.nn.Conv2d)]
    assert shapes == [(64, 19, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4), (1, 512, 4, 4)]


@pytest.mark.parametrize("size", [(1, 1), (15, 40), (32, 48), (67, 33)])
def test_an_image_of_any_size_gets_one_score_and_its_features(size: tuple[int, int]) -> None:
    verdict = ImageDiscriminator(5)(torch.rand(2, 5, *size), torch.rand(2, 3, *size))
    assert verdict.logits.shape == (2,)
    assert verdict.features.shape == (2, 512)


def test_the_image_discriminator_is_four_convolutions_averaged_and_classified() -> None:
    discriminator = ImageDiscriminator(5).eval()
    maps, images = torch.rand(2, 5, 36, 50), torch.rand(2, 3, 36, 50)
    images[0, 0, 0, 0], images[1, 2, 3, 4] = 0.0, 1.0  # stretched to [0, 1] already
    parameters = dict(discriminator.named_parameters())
    kernels = [name.removesuffix(".weight") for name in parameters if name.startswith("layers.") and "weight" in name]
    values = torch.cat([maps, images], dim=1)
    for name in kernels:
        assert parameters[f"{name}.weight"].shape[1:] == (values.shape[1], 4, 4)
        values = F.conv2d(values, parameters[f"{name}.weight"], parameters[f"{name}.bias"], stride=2, padding=1)
        values = torch.where(values > 0, values, 0.2 * values)
    assert [parameters[f"{name}.weight"].shape[0] for name in kernels] == [64, 128, 256, 512]
    verdict = discriminator(maps, images)
    torch.testing.assert_close(verdict.features, values.flatten(2).mean(dim=2))
    weight, bias = parameters["classify.weight"], parameters["classify.bias"]
    torch.testing.assert_close(verdict.logits, (verdict.features * weight).sum(dim=1) + bias)


def test_darker_images_of_less_contrast_get_the_same_verdict_and_those_of_one_color_a_finite_one() -> None:
    discriminator, maps, images = ImageDiscriminator(2).eval(), torch.rand(2, 2, 32, 32), torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(discriminator(maps, 0.3 * images + 0.1), discriminator(maps, images))
    assert discriminator(maps, torch.full_like(images, 0.5)).logits.isfinite().all()


def test_channels_are_dropped_after_the_first_three_convolutions_and_in_training_alone() -> None:
    layers = list(ImageDiscriminator(2).layers)
    kinds = ["Conv2d", "LeakyReLU", "Dropout2d"]
    assert [type(layer).__name__ for layer in layers] == [*kinds, *kinds, *kinds, "Conv2d", "LeakyReLU"]
    assert {layer.p for layer in layers if isinstance(layer, torch.nn.Dropout2d)} == {0.5}


def test_label_maps_are_one_where_the_label_is_and_all_zero_where_it_is_ignored() -> None:
    maps = label_maps(torch.tensor([[[0, 2, IGNORE]]]), num_classes=3)
    assert maps.tolist() == [[[[1, 0, 0]], [[0, 0, 0]], [[0, 1, 0]]]]


def test_equal_vectors_of_two_classes_are_told_apart() -> None:
    discriminator = ClassVectorDiscriminator(3, dim=5, hidden_dim=16)
    scores = discriminator(torch.ones(2, 3, 5))
    assert scores.shape == (2, 3)
    assert scores[0].unique().numel() == 3
    torch.testing.assert_close(scores[0], scores[1])


@pytest.mark.parametrize("held", [True, False])
def test_held_constant_it_gives_the_same_and_only_its_inputs_get_a_gradient(held: bool) -> None:
    discriminator = MapDiscriminator(2)
    maps = torch.rand(1, 2, 32, 32, requires_grad=True)
    scores = held_constant(discriminator, maps) if held else discriminator(maps)
    torch.testing.assert_close(scores, discriminator(maps))
    scores.sum().backward()
    assert grad_of(maps).any()
    assert all((parameter.grad is None) == held for parameter in discriminator.parameters())
