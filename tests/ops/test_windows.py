"""Windows against slices of the image, and their matches against the pixels that both show."""

from itertools import product

import pytest
import torch
from torch import Tensor

from fewmask.ops.windows import Windows, cut, draw_windows, match

CPU = torch.device("cpu")
FLIPS = list(product([False, True], repeat=2))


def window(top: int, left: int, flipped: bool, size: tuple[int, int] = (4, 6), cell: int = 2) -> Windows:
    return Windows(torch.tensor([top]), torch.tensor([left]), torch.tensor([flipped]), size, cell)


def numbered(num_images: int, height: int, width: int) -> Tensor:
    """Images whose pixels all differ."""
    return torch.arange(num_images * height * width).view(num_images, 1, height, width).float()


def test_a_window_is_a_slice_of_its_image_turned_over_or_not() -> None:
    images = torch.rand(2, 3, 12, 16)
    windows = Windows(torch.tensor([1, 4]), torch.tensor([5, 0]), torch.tensor([False, True]), (4, 6), 2)
    one, other = cut(images, windows)
    assert torch.equal(one, images[0, :, 2:6, 10:16])
    assert torch.equal(other, images[1, :, 8:12, 0:6].flip(2))


@pytest.mark.parametrize(("one_flipped", "other_flipped"), FLIPS)
def test_matched_cells_show_the_same_pixels(one_flipped: bool, other_flipped: bool) -> None:
    size, cell, images = (8, 12), 2, numbered(3, 20, 24)
    first, second = (
        Windows(torch.tensor(top), torch.tensor(left), torch.tensor([flipped] * 3), size, cell)
        for top, left, flipped in (([0, 3, 6], [2, 6, 0], one_flipped), ([2, 3, 4], [5, 2, 0], other_flipped))
    )

    def cells(windows: Windows) -> list[frozenset[float]]:
        """The set of pixels of every cell."""
        patches = cut(images, windows).unfold(2, cell, cell).unfold(3, cell, cell).flatten(4)
        return [frozenset(pixels) for pixels in patches.reshape(-1, cell**2).tolist()]

    ours, theirs = cells(first), cells(second)
    partners, found = match(first, second)
    assert found.sum() == 2 * 3 + 4 * 2 + 2 * 6
    for number, (partner, exists) in enumerate(zip(partners.tolist(), found.tolist(), strict=True)):
        assert exists == (ours[number] in theirs)
        assert 0 <= partner < len(theirs)
        if exists:
            assert ours[number] == theirs[partner]


@pytest.mark.parametrize(
    ("flips", "expected"),
    [
        ((False, False), [None, 0, 1]),
        ((True, False), [1, 0, None]),
        ((False, True), [None, 2, 1]),
        ((True, True), [1, 2, None]),
    ],
)
def test_a_row_of_three_cells_and_the_same_row_one_cell_on(
    flips: tuple[bool, bool], expected: list[int | None]
) -> None:
    one, other = window(0, 0, flips[0], (2, 6)), window(0, 1, flips[1], (2, 6))
    partners, found = match(one, other)
    pairs = zip(partners.tolist(), found.tolist(), strict=True)
    assert [partner if exists else None for partner, exists in pairs] == expected


@pytest.mark.parametrize(("one_flipped", "other_flipped"), FLIPS)
def test_windows_side_by_side_have_no_cell_in_common(one_flipped: bool, other_flipped: bool) -> None:
    assert not match(window(0, 0, one_flipped), window(0, 3, other_flipped)).found.any()
    assert not match(window(2, 0, one_flipped), window(0, 0, other_flipped)).found.any()


def test_windows_are_drawn_at_every_place_inside_the_image_and_nowhere_else() -> None:
    windows = draw_windows(2000, (17, 22), (8, 12), 4, 0.25, CPU)
    assert windows.top.unique().tolist() == [0, 1, 2]  # 8 + 8 of 17 pixels
    assert windows.left.unique().tolist() == [0, 1, 2]  # 8 + 12 of 22
    assert 0.2 < windows.flipped.float().mean() < 0.3
    assert not draw_windows(10, (8, 8), (8, 8), 4, 0.0, CPU).flipped.any()
