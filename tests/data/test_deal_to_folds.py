"""Labeled images dealt to folds: each once, in folds of about equal size, with the images of a class spread."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fewmask.data.folds import deal_to_folds


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 10_000), st.data())
def test_every_image_is_in_one_fold_and_folds_are_of_about_equal_size(
    num_images: int, num_classes: int, seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, num_images))
    generator = torch.Generator().manual_seed(seed)
    presence = torch.rand(num_images, num_classes, generator=generator) < 0.4
    folds = deal_to_folds(presence, count, torch.randperm(num_images, generator=generator).tolist())
    assert sorted(row for fold in folds for row in fold) == list(range(num_images))
    sizes = [len(fold) for fold in folds]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1


def test_the_images_of_rare_classes_are_spread_before_those_of_frequent_ones() -> None:
    presence = torch.zeros(12, 4, dtype=torch.bool)
    presence[:, 0] = True
    presence[:6, 1] = True
    presence[[0, 1], 2] = True  # two neighbors, which a deal in turn of halves would put together
    presence[[2, 3, 4], 3] = True
    for order in (list(range(12)), list(reversed(range(12)))):
        held = torch.stack([presence[fold].sum(0) for fold in deal_to_folds(presence, 3, order)])
        assert held[:, 0].tolist() == [4, 4, 4]
        assert held[:, 1].tolist() == [2, 2, 2]
        assert sorted(held[:, 2].tolist()) == [0, 1, 1]
        assert held[:, 3].tolist() == [1, 1, 1]
