"""The two discriminators: what they score, and the pass that holds them constant."""

import pytest
import torch

from fewmask.models.discriminator import ClassVectorDiscriminator, MapDiscriminator, held_constant


@pytest.mark.parametrize(
    ("size", "grid"), [((32, 48), (1, 1)), ((64, 100), (2, 3)), ((95, 128), (2, 4)), ((20, 9), (1, 1))]
)
def test_a_map_gets_a_score_and_a_place_in_the_mask_for_every_patch(size, grid):
    scores = MapDiscriminator(3)(torch.rand(2, 3, *size))
    assert scores.shape == (2, *grid)
    assert MapDiscriminator.in_image(torch.ones(2, *size, dtype=torch.bool)).shape == scores.shape


def test_a_patch_is_in_the_image_if_its_center_is():
    valid = torch.ones(1, 64, 96, dtype=torch.bool)
    valid[:, :, 48:] = False
    assert MapDiscriminator.in_image(valid).tolist() == [[[True, False, False], [True, False, False]]]
    valid[:, :, 48] = True
    assert MapDiscriminator.in_image(valid).tolist() == [[[True, True, False], [True, True, False]]]


def test_the_layers_of_the_map_discriminator_are_those_of_the_paper():
    shapes = [tuple(layer.weight.shape) for layer in MapDiscriminator(19).layers if hasattr(layer, "weight")]
    assert shapes == [(64, 19, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4), (1, 512, 4, 4)]


def test_equal_vectors_of_two_classes_are_told_apart():
    discriminator = ClassVectorDiscriminator(3, dim=5, hidden_dim=16)
    scores = discriminator(torch.ones(2, 3, 5))
    assert scores.shape == (2, 3)
    assert scores[0].unique().numel() == 3
    torch.testing.assert_close(scores[0], scores[1])


@pytest.mark.parametrize("held", [True, False])
def test_held_constant_it_gives_the_same_and_only_its_inputs_get_a_gradient(held):
    discriminator = MapDiscriminator(2)
    maps = torch.rand(1, 2, 32, 32, requires_grad=True)
    scores = held_constant(discriminator, maps) if held else discriminator(maps)
    torch.testing.assert_close(scores, discriminator(maps))
    scores.sum().backward()
    assert maps.grad.any()
    assert all((parameter.grad is None) == held for parameter in discriminator.parameters())
