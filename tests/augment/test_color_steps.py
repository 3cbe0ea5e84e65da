"""Color steps leave every pixel in its place, keep their probability, and some of several may be drawn."""

from dataclasses import dataclass

import pytest
import torch
from hand_made import copied, random_view

from fewmask.augment.color import AdditiveJitter, Blur, ColorStep, Gray, Jitter, SomeOf
from fewmask.augment.tone import Autocontrast, Enhance, Equalize, Posterize, Solarize
from fewmask.shapes import Images

NEVER: list[ColorStep] = [
    Jitter(0.0),
    AdditiveJitter(0.0),
    Gray(0.0),
    Blur(0.0),
    Enhance("contrast", 0.0),
    Autocontrast(0.0),
    Equalize(0.0),
    Solarize(0.0),
    Posterize(0.0),
]
ALWAYS: list[ColorStep] = [
    Jitter(1.0),
    AdditiveJitter(1.0),
    Gray(1.0),
    Blur(1.0, (0.5, 1.5)),
    Enhance("contrast"),
    Enhance("sharpness"),
    Autocontrast(),
    Equalize(),
    Solarize(threshold_range=(0.0, 0.9)),
    Posterize(bits_range=(2, 4)),
    SomeOf([Gray(1.0), Solarize()], fewest=1, most=2),
]


@dataclass(frozen=True)
class Add(ColorStep):
    """Marks the images that take this step."""

    amount: float

    def change(self, images: Images) -> Images:
        return images + self.amount


@pytest.mark.parametrize("step", ALWAYS, ids=str)
def test_a_step_changes_every_image_and_nothing_else(step: ColorStep) -> None:
    view = random_view()
    before = copied(view)
    changed = step(view)
    assert (changed.images != view.images).flatten(1).any(dim=1).all()
    assert all(maps is kept for maps, kept in zip(changed[1:], view[1:], strict=True))
    assert torch.equal(view.images, before.images)


@pytest.mark.parametrize("step", NEVER, ids=str)
def test_probability_zero_changes_nothing(step: ColorStep) -> None:
    view = random_view()
    assert torch.equal(step(view).images, view.images)


@pytest.mark.parametrize("step", ALWAYS, ids=str)
def test_one_pixel_and_half_precision_are_changed_like_any_other(step: ColorStep) -> None:
    assert step(random_view(height=1, width=1)).images.isfinite().all()
    view = random_view()
    half = step(view._replace(images=view.images.bfloat16())).images
    assert half.dtype == torch.bfloat16
    assert half.min() >= 0
    assert half.max() <= 1.001


def test_gray_is_the_luminance() -> None:
    images = torch.zeros(1, 3, 2, 2)
    images[:, 1] = 1.0
    torch.testing.assert_close(Gray(1.0).change(images), torch.full((1, 3, 2, 2), 0.587))


def test_each_image_takes_a_random_number_of_random_steps() -> None:
    images = SomeOf([Add(1.0), Add(2.0), Add(4.0)], fewest=1, most=2).change(torch.zeros(3000, 3, 1, 1))
    shares = torch.bincount(images[:, 0, 0, 0].long(), minlength=8) / 3000
    assert shares.tolist() == pytest.approx([0, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 0], abs=0.03)


def test_all_and_none_of_several_steps() -> None:
    images = torch.rand(4, 3, 5, 5)
    assert torch.equal(SomeOf([Add(1.0), Add(2.0)], 0, 0).change(images), images)
    torch.testing.assert_close(SomeOf([Add(1.0), Add(2.0)], 2, 2).change(images), images + 3)
