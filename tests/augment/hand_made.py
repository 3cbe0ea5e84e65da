"""Views whose pixels say where they come from."""

import torch

from fewmask.augment.view import View
from fewmask.shapes import IGNORE

K = 4


def random_view(num_images: int = 6, height: int = 24, width: int = 32) -> View:
    """Noise with labels of K classes, a part of them ignored, and random confidence."""
    shape = (num_images, height, width)
    labels = torch.randint(0, K, shape).masked_fill(torch.rand(shape) < 0.1, IGNORE)
    return View.of(torch.rand(num_images, 3, height, width), labels, torch.rand(shape))


def marked_view(num_images: int = 4, height: int = 6, width: int = 8, first: int = 0) -> View:
    """Image i is of the color, the label and the confidence (first + i) / 10, and valid but for its first row."""
    marks = first + torch.arange(num_images)[:, None, None].expand(num_images, height, width)
    valid = torch.ones_like(marks, dtype=torch.bool)
    valid[:, 0] = False
    return View((marks / 10)[:, None].repeat(1, 3, 1, 1), marks.clone(), marks / 10, valid)


def columns_view(num_images: int = 2, height: int = 4, width: int = 4) -> View:
    """The column is the label, and a tenth of it the color and the confidence."""
    columns = torch.arange(width).expand(num_images, height, width)
    return View.of((columns / 10)[:, None].repeat(1, 3, 1, 1), columns.clone(), columns / 10)


def assert_same(found: View, expected: View) -> None:
    """Bit for bit."""
    for name, one, other in zip(View._fields, found, expected, strict=True):
        assert torch.equal(one, other), name


def copied(view: View) -> View:
    return View(*(maps.clone() for maps in view))
