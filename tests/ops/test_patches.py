"""Descriptors of label patches, their disparity, and the contrast by it, against their definitions written out."""

import math

import pytest
import torch
from torch import Tensor

from fewmask.ops.contrast import disparity, info_nce, label_patches, patch_grid
from fewmask.shapes import IGNORE
from grad_of import grad_of

NUM_CLASSES = 3


def literal_disparity(one: Tensor, other: Tensor) -> float:
    """Half L1 distances of the histograms of the parts of two patches of labels whose side is a multiple of 4."""
    levels: list[float] = []
    for parts in (1, 2, 4):
        side, distances = len(one) // parts, []
        for row in range(parts):
            for column in range(parts):
                place = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
                distances.append(sum(abs(a - b) for a, b in zip(*map(shares, (one[place], other[place])), strict=True)))
        levels.append(sum(distances) / len(distances) / 2)
    return sum(levels) / len(levels)


def shares(labels: Tensor) -> list[float]:
    """The share of each class among the labeled pixels."""
    counts = [(labels == label).sum().item() for label in range(NUM_CLASSES)]
    return [count / max(sum(counts), 1) for count in counts]


def random_labels(*shape: int) -> Tensor:
    labels = torch.randint(0, NUM_CLASSES + 1, shape)
    return labels.masked_fill(labels == NUM_CLASSES, IGNORE)


def test_the_disparity_of_any_two_patches_is_that_of_its_definition() -> None:
    labels = random_labels(2, 16, 24)
    labels[0, :8, :8] = IGNORE
    labels[1, :8, 8:12] = IGNORE
    patches = label_patches(labels, (2, 3), NUM_CLASSES)
    cut = [image[row : row + 8, column : column + 8] for image in labels for row in (0, 8) for column in (0, 8, 16)]
    expected = [[literal_disparity(one, other) for other in cut] for one in cut]
    flat = patches.descriptors.flatten(0, 1)
    torch.testing.assert_close(disparity(flat, flat), torch.tensor(expected), rtol=0, atol=1e-6)
    labeled = torch.tensor([(patch != IGNORE).float().mean() for patch in cut])
    torch.testing.assert_close(patches.labeled_share.flatten(), labeled)


def test_disparities_worked_out_by_hand() -> None:
    all_zero, all_one = torch.zeros(8, 8, dtype=torch.int64), torch.ones(8, 8, dtype=torch.int64)
    left = all_zero.clone()
    left[:, :4] = 1
    patches = label_patches(torch.stack([all_zero, all_one, left, left.flip(1)]), (1, 1), NUM_CLASSES)
    flat = patches.descriptors.flatten(0, 1)
    expected = [
        [0, 1, 0.5, 0.5],
        [1, 0, 0.5, 0.5],
        [0.5, 0.5, 0, 2 / 3],  # as wholes the mirror image is the same, in its parts everything differs
        [0.5, 0.5, 2 / 3, 0],
    ]
    torch.testing.assert_close(disparity(flat, flat), torch.tensor(expected))


@pytest.mark.parametrize(
    ("height", "width", "size", "grid"),
    [
        (512, 512, 128, (4, 4)),
        (300, 520, 128, (2, 4)),
        (90, 120, 128, (1, 1)),
        (90, 200, 128, (1, 2)),
        (32, 48, 8, (4, 6)),
    ],
)
def test_a_patch_is_the_largest_square_that_fits_where_the_image_is_smaller(
    height: int, width: int, size: int, grid: tuple[int, int]
) -> None:
    assert patch_grid(height, width, size) == grid


@pytest.mark.parametrize(
    ("size", "grid", "pixels"),
    [((17, 23), (1, 2), 17 * 11), ((17, 23), (3, 1), 5 * 23), ((3, 2), (1, 1), 3 * 2)],
)
def test_patches_cover_the_image_whatever_its_size(size: tuple[int, int], grid: tuple[int, int], pixels: int) -> None:
    labels = torch.ones(1, *size, dtype=torch.int64)
    labels[0, -1, -1] = 0
    last = label_patches(labels, grid, NUM_CLASSES).descriptors[0, -1, :NUM_CLASSES]
    assert last[0] / last.sum() == pytest.approx(1 / pixels, rel=1e-4)


def literal_info_nce(anchors: Tensor, keys: Tensor, positives: Tensor, negatives: Tensor, temperature: float) -> float:
    """Pair by pair."""
    losses = []
    for anchor, drawn, pushed in zip(anchors, positives, negatives, strict=True):
        similar = [torch.cosine_similarity(anchor, key, dim=0) / temperature for key in keys]
        away = sum(math.exp(s) for s, is_negative in zip(similar, pushed, strict=True) if is_negative)
        each = [-math.log(math.exp(s) / (math.exp(s) + away)) for s, near in zip(similar, drawn, strict=True) if near]
        if each and pushed.any():
            losses.append(sum(each) / len(each))
    return sum(losses) / len(losses)


def test_the_contrast_is_its_definition_pair_by_pair() -> None:
    anchors, keys = torch.randn(6, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    draw = torch.rand(6, 7)
    positives, negatives = draw < 0.3, draw > 0.6
    positives[0], negatives[1] = False, False
    positives[1, 0] = True
    found = info_nce(anchors, keys, positives, negatives, 0.3)
    assert found.item() == pytest.approx(literal_info_nce(anchors, keys, positives, negatives, 0.3), rel=1e-12)


def test_the_gradient_of_the_contrast_is_that_of_its_values() -> None:
    anchors, keys = (torch.randn(number, 3, dtype=torch.float64, requires_grad=True) for number in (4, 5))
    draw = torch.rand(4, 5)
    assert torch.autograd.gradcheck(
        lambda one, other: info_nce(one, other, draw < 0.4, draw > 0.6, 0.3), (anchors, keys)
    )


@pytest.mark.parametrize(("has_positives", "has_negatives"), [(False, True), (True, False), (False, False)])
def test_without_a_pair_of_either_kind_the_contrast_and_its_gradient_are_zero(
    has_positives: bool, has_negatives: bool
) -> None:
    anchors, keys = torch.randn(3, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    every = torch.ones(3, 2, dtype=torch.bool)
    loss = info_nce(anchors, keys, every & has_positives, every & has_negatives, 0.07)
    loss.backward()
    assert loss == 0
    assert not grad_of(anchors).any()
    assert not grad_of(keys).any()


def test_half_precision_is_contrasted_in_float32() -> None:
    anchors, keys = torch.randn(4, 8).bfloat16(), torch.randn(5, 8).bfloat16()
    draw = torch.rand(4, 5)
    found = info_nce(anchors, keys, draw < 0.4, draw > 0.6, 0.07)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, info_nce(anchors.float(), keys.float(), draw < 0.4, draw > 0.6, 0.07))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(found, info_nce(anchors, keys, draw < 0.4, draw > 0.6, 0.07))
