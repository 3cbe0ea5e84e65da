"""Dropout of channels between encoder and decoder."""

import torch

from fewmask.methods.parts.feature_dropout import dropped_apart, with_dropped
from fewmask.models.encoded import Encoded


def ones(num_images: int, *widths: int) -> Encoded:
    return Encoded([torch.ones(num_images, width, 3, 2) for width in widths])


def test_the_clean_maps_come_first_and_then_the_same_with_whole_channels_dropped() -> None:
    found = with_dropped(ones(4, 64, 128), 0.25)
    for maps in found.maps:
        clean, dropped = maps.chunk(2)
        assert (clean == 1).all()
        factors = dropped[:, :, 0, 0]
        assert torch.equal(dropped, factors[:, :, None, None].expand_as(dropped))
        assert set(factors.flatten().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
        assert 0.1 < (factors == 0).float().mean() < 0.4


def test_two_views_keep_complementary_channels_and_half_of_the_images_keep_all() -> None:
    found = dropped_apart(ones(2 * 5, 64, 64, 32))
    factors = [maps[:, :, 0, 0] for maps in found.maps]
    for maps, factor in zip(found.maps, factors, strict=True):
        assert torch.equal(maps, factor[:, :, None, None].expand_as(maps))
        first, second = factor.chunk(2)
        assert torch.equal(first + second, torch.full_like(first, 2.0))
        whole = (first == 1).all(dim=1)
        assert whole.sum() == 2
        assert ((first[~whole] == 0) | (first[~whole] == 2)).all()
        assert 0.3 < (first[~whole] == 0).float().mean() < 0.7
    assert torch.equal(factors[0], factors[1])  # maps of one width share a draw
    assert not torch.equal(factors[0][:, :32], factors[2])


def test_of_one_image_channels_are_always_dropped() -> None:
    (maps,) = dropped_apart(ones(2, 64)).maps
    assert ((maps == 0) | (maps == 2)).all()
