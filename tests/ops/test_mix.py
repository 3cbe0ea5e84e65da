"""What one image gives to another: half of its classes, copies of some, or a box; and the pasting of any map."""

import math

import pytest
import torch
from torch import Tensor

from fewmask.ops.mix import (
    cover,
    draw_beta,
    draw_box_mask,
    draw_class_mask,
    draw_copy_mask,
    draw_even_box_mask,
    draw_shaped_box_mask,
    paste,
)
from fewmask.shapes import IGNORE

K = 6


def random_labels(num_images: int = 20, side: int = 8) -> Tensor:
    """Images of 1 to 6 classes, a part of them ignored."""
    labels = torch.stack([torch.randint(0, 1 + image % K, (side, side)) for image in range(num_images)])
    return labels.masked_fill(torch.rand(labels.shape) < 0.2, IGNORE)


def test_half_of_the_classes_are_chosen_whole_and_nothing_ignored() -> None:
    labels = random_labels()
    for image, mask in zip(labels, draw_class_mask(labels, K, probability=1.0), strict=True):
        present = set(image.unique().tolist()) - {IGNORE}
        chosen = set(image[mask].unique().tolist())
        assert len(chosen) == len(present) // 2
        assert torch.equal(mask, torch.isin(image, torch.tensor(sorted(chosen), dtype=torch.int64)))


def test_every_class_is_chosen_about_half_of_the_time() -> None:
    labels = torch.arange(4).expand(2000, 1, 4)
    shares = draw_class_mask(labels, K, probability=1.0).float().mean(dim=0).flatten()
    assert shares.tolist() == pytest.approx([0.5] * 4, abs=0.05)


def test_the_probability_holds_per_image() -> None:
    labels = torch.arange(4).expand(2000, 1, 4)
    chosen = draw_class_mask(labels, K, probability=0.3).flatten(1).any(dim=1)
    assert chosen.float().mean().item() == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("label", [0, 3, IGNORE])
def test_an_image_of_one_class_or_none_gives_nothing(label: int) -> None:
    assert not draw_class_mask(torch.full((3, 4, 4), label), K, probability=1.0).any()
    assert not draw_class_mask(torch.full((1, 1, 1), label), K, probability=1.0).any()


def test_one_more_class_may_be_chosen() -> None:
    labels = random_labels()
    for image, mask in zip(labels, draw_class_mask(labels, K, 1.0, one_more=True), strict=True):
        num_present = len(set(image.unique().tolist()) - {IGNORE})
        assert len(image[mask].unique()) == (num_present // 2 + 1 if num_present else 0)


def test_a_spared_class_is_chosen_only_alone() -> None:
    """As the released code on VOC, where of the classes 0, 5 and 9 the last two are always chosen."""
    labels = torch.tensor([[[0, 5, 9]], [[0, 0, 0]], [[0, IGNORE, IGNORE]]]).repeat(50, 1, 1)
    masks = draw_class_mask(labels, 10, 1.0, one_more=True, spared=0).view(50, 3, 3)
    assert (masks == torch.tensor([[False, True, True], [True] * 3, [True, False, False]])).all()
    half = draw_class_mask(labels, 10, 1.0, spared=0).view(50, 3, 3)
    assert half[:, 0].sum(dim=1).tolist() == [1] * 50
    assert not half[:, :, 0].any()


def test_the_probability_may_be_drawn_once_for_all_images() -> None:
    labels = torch.arange(4).expand(8, 1, 4)
    chosen = [draw_class_mask(labels, K, 0.3, once=True).flatten(1).any(dim=1) for _ in range(300)]
    assert all(each.all() or not each.any() for each in chosen)
    assert sum(bool(each.all()) for each in chosen) / 300 == pytest.approx(0.3, abs=0.1)


def test_probability_zero_gives_nothing() -> None:
    assert not draw_class_mask(random_labels(), K, probability=0.0).any()


def test_copies_are_whole_classes_each_with_its_own_probability() -> None:
    labels = torch.tensor([[[0, 1, 2, IGNORE]]]).expand(2000, 1, 4)
    mask = draw_copy_mask(labels, torch.tensor([0.0, 0.3, 1.0]))
    assert mask.float().mean(dim=0).flatten().tolist() == pytest.approx([0.0, 0.3, 1.0, 0.0], abs=0.04)
    both = draw_copy_mask(torch.tensor([[[1, 1, 2], [1, 0, 2]]]).expand(50, 2, 3), torch.tensor([0.5, 0.5, 0.5]))
    assert ((both[:, 0, 0] == both[:, 0, 1]) & (both[:, 0, 0] == both[:, 1, 0])).all()
    assert not torch.equal(both[:, 0, 0], both[:, 0, 2])


def test_ignored_images_give_no_copies() -> None:
    assert not draw_copy_mask(torch.full((3, 1, 1), IGNORE), torch.ones(K)).any()


def draw_boxes(num_images: int, size: tuple[int, int], least: float, most: float) -> Tensor:
    return draw_box_mask(num_images, size, torch.device("cpu"), (least, most))


def test_a_mask_is_one_whole_box() -> None:
    for mask in draw_boxes(200, (9, 14), 0.2, 0.8):
        rows, columns = (torch.where(mask.any(dim=axis))[0] for axis in (1, 0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert mask.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)


def test_a_box_covers_its_share_but_for_rounding() -> None:
    masks = draw_boxes(50, (400, 600), 0.5, 0.5)
    assert masks.float().mean(dim=(1, 2)).sub(0.5).abs().max() < 0.002
    shares = draw_boxes(2000, (64, 96), 0.0, 1.0).float().mean(dim=(1, 2)).sort().values
    assert (shares - torch.linspace(0, 1, 2000)).abs().max() < 0.06


@pytest.mark.parametrize("size", [(500, 1), (1, 500)])
def test_height_and_width_are_log_uniform_between_the_share_and_the_whole(size: tuple[int, int]) -> None:
    shares = draw_boxes(4000, size, 0.5, 0.5).flatten(1).float().mean(dim=1)
    assert shares.min() >= 0.5
    tenths = torch.linspace(0.1, 0.9, 9)
    assert torch.allclose((shares.log() / math.log(0.5)).quantile(tenths), tenths, atol=0.03)


def test_a_box_lies_anywhere_as_likely_as_at_the_mirrored_place() -> None:
    shares = draw_boxes(4000, (6, 10), 0.3, 0.3).float().mean(dim=0)
    assert shares.min() > 0.02
    assert (shares - shares.flip(0)).abs().max() < 0.03
    assert (shares - shares.flip(1)).abs().max() < 0.03


def test_a_share_of_nothing_is_no_box_and_one_of_all_is_the_image() -> None:
    assert not draw_boxes(50, (7, 5), 0.0, 0.0).any()
    assert draw_boxes(50, (7, 5), 1.0, 1.0).all()
    assert draw_boxes(3, (1, 1), 0.4, 0.6).shape == (3, 1, 1)


def test_pasting_equals_a_plain_twin_on_maps_of_every_kind() -> None:
    mask = torch.rand(4, 5, 6) < 0.5
    images, labels, valid = torch.rand(4, 3, 5, 6), torch.randint(0, K, (4, 5, 6)), torch.rand(4, 5, 6) < 0.7
    for found, maps in zip(paste(mask, images, labels, valid), (images, labels, valid), strict=True):
        expected = maps.clone()
        for index in range(4):
            here = mask[index - 1]
            expected[index][..., here] = maps[index - 1][..., here]
        assert torch.equal(found, expected)


def test_a_shaped_box_has_its_area_and_its_ratio() -> None:
    masks = draw_shaped_box_mask(300, (300, 200), torch.device("cpu"), (0.1, 0.1), (0.5, 2.0))
    heights, widths = masks.any(dim=2).sum(dim=1), masks.any(dim=1).sum(dim=1)
    assert (masks.sum(dim=(1, 2)) == heights * widths).all()
    assert (masks.float().mean(dim=(1, 2)) - 0.1).abs().max() < 0.003
    ratios = heights / widths
    assert 0.49 < ratios.min() < 0.55
    assert 1.9 < ratios.max() < 2.05


def test_a_side_of_a_shaped_box_is_no_longer_than_the_image() -> None:
    masks = draw_shaped_box_mask(50, (10, 40), torch.device("cpu"), (0.9, 0.9), (3.0, 3.0))
    assert masks.any(dim=2).all()
    assert not masks.all()
    assert draw_shaped_box_mask(2, (1, 1), torch.device("cpu"), (1.0, 1.0), (1.0, 1.0)).all()


def test_what_covers_takes_the_type_of_the_maps() -> None:
    mask = torch.tensor([[[True, False]]])
    covered = cover(mask, torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2, dtype=torch.bfloat16))
    assert covered.dtype == torch.bfloat16
    assert covered[0].tolist() == [[[1.0, 0.0]]] * 3


def test_several_boxes_are_smaller_and_undo_each_other_where_two_meet() -> None:
    masks = draw_box_mask(200, (60, 90), torch.device("cpu"), (1.0, 1.0), num_boxes=2)
    assert not masks[:, 30, 45].any()  # each box has 0.71 of each side, so both hold the middle
    assert masks.float().mean(dim=(1, 2)).max() < 0.67  # they share at least 0.41 of each side
    assert masks.flatten(1).any(dim=1).float().mean() > 0.9


def test_an_even_box_has_the_proportions_of_the_image() -> None:
    areas = torch.tensor([0.0, 0.25, 0.49, 1.0])
    masks = draw_even_box_mask((40, 60), areas)
    assert masks.any(dim=2).sum(dim=1).tolist() == [0, 20, 28, 40]
    assert masks.any(dim=1).sum(dim=1).tolist() == [0, 30, 42, 60]
    assert masks.float().mean(dim=(1, 2)).tolist() == pytest.approx(areas.tolist(), abs=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(8, 2), (4, 4), (1, 1)])
def test_beta_draws_have_the_mean_and_the_variance_of_beta(alpha: int, beta: int) -> None:
    found = draw_beta(20_000, alpha, beta, torch.device("cpu"))
    wanted = torch.distributions.Beta(float(alpha), float(beta))
    assert found.mean().item() == pytest.approx(wanted.mean.item(), abs=0.006)
    assert found.var().item() == pytest.approx(wanted.variance.item(), rel=0.05)
