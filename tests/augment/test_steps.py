"""A list of steps: taken in order, on the device alone, and equal to the same view written as one function."""

from dataclasses import FrozenInstanceError

import pytest
import torch
from einops import rearrange, repeat
from hand_made import K, assert_same, copied, marked_view, random_view
from torch import Tensor
from torch.nn import functional as F

from contract import HostReads
from fewmask.augment.augmentation import STRONG, WEAK, Augmentation
from fewmask.augment.batch import augment, distort
from fewmask.augment.color import Blur, Gray, Jitter, SomeOf
from fewmask.augment.cutout import Cutout
from fewmask.augment.geometry import Crop, Flip, Geometry, Scale
from fewmask.augment.mix import ClassMix, CopyClasses, CutMix
from fewmask.augment.steps import Step, take
from fewmask.augment.tone import Autocontrast, Enhance, Equalize, Posterize, Solarize
from fewmask.augment.view import View
from fewmask.ops.color import JitterStrength, blur, grayscale, jitter
from fewmask.ops.mix import draw_class_mask
from fewmask.shapes import IGNORE

STEPS: list[Step] = [
    Flip(),
    Scale(),
    Crop(),
    Crop((8, 40)),
    Geometry((Scale(), Crop())),
    Jitter(),
    Gray(),
    Blur(),
    SomeOf([Enhance("brightness"), Enhance("contrast"), Enhance("saturation"), Enhance("sharpness")]),
    Autocontrast(),
    Equalize(),
    Solarize(),
    Posterize(),
    Cutout(0.5),
    ClassMix(K),
    CutMix(0.5),
    CutMix(ratio_range=(0.3, 3.3)),
    CopyClasses(torch.full((K,), 0.5)),
    CutMix(partner=random_view(2)),
]


def literal_view(how: Augmentation, images: Tensor, labels: Tensor, confidence: Tensor) -> View:
    """ClassMix, one sampling and colors of the table, in one function and without steps."""
    num_images, _, height, width = images.shape
    mask = draw_class_mask(labels, K, how.classmix_probability).roll(1, dims=0)
    images = torch.where(mask[:, None], images.roll(1, dims=0), images)
    labels, confidence = (torch.where(mask, maps.roll(1, dims=0), maps) for maps in (labels, confidence))

    low, high = how.scale_range
    chosen = torch.rand(num_images) < how.scale_probability
    scale = torch.where(chosen, low + (high - low) * torch.rand(num_images), 1.0)
    mirror = torch.where(torch.rand(num_images) < how.flip_probability, -1.0, 1.0)
    share = rearrange(1 / scale, "b -> b 1").expand(-1, 2)
    shift = (torch.rand(num_images, 2) * 2 - 1) * (1 - share)
    factor = share * torch.stack([mirror, torch.ones_like(scale)], dim=1)
    x, y = ((2 * torch.arange(length) + 1) / length - 1 for length in (width, height))
    columns = repeat(x * factor[:, :1] + shift[:, :1], "b w -> b h w", h=height)
    rows = repeat(y * factor[:, 1:] + shift[:, 1:], "b h -> b h w", w=width)
    grid = torch.stack([columns, rows], dim=-1)
    planes = F.grid_sample(torch.cat([images, confidence[:, None]], dim=1), grid, align_corners=False)
    shifted = F.grid_sample((labels - IGNORE).float()[:, None], grid, mode="nearest", align_corners=False)
    labels = shifted[:, 0].long() + IGNORE

    images = jitter(
        planes[:, :3],
        how.jitter_probability,
        JitterStrength(how.brightness, how.contrast, how.saturation, how.hue),
    )
    images = blur(grayscale(images, how.grayscale_probability), how.blur_probability, how.blur_sigma)
    return View(images, labels, planes[:, 3].clamp(0, 1), labels != IGNORE)


@pytest.mark.parametrize("how", [WEAK, STRONG, STRONG.model_copy(update={"grayscale_probability": 0.3})])
@pytest.mark.parametrize("seed", range(3))
def test_the_steps_of_an_augmentation_are_the_same_view_bit_for_bit(how: Augmentation, seed: int) -> None:
    images, labels, confidence, _ = random_view(8)
    torch.manual_seed(seed)
    expected = literal_view(how, images, labels, confidence)
    after = torch.rand(1)
    torch.manual_seed(seed)
    assert_same(augment(how, images, labels, K, confidence), expected)
    assert torch.equal(torch.rand(1), after)  # as many draws


def test_the_colors_of_an_augmentation_are_the_last_of_its_steps() -> None:
    steps = STRONG.steps(K)
    assert steps[-3:] == STRONG.colors()
    images = torch.rand(3, 3, 8, 8)
    torch.manual_seed(2)
    expected = take(STRONG.colors(), View.of(images)).images
    torch.manual_seed(2)
    assert torch.equal(distort(STRONG, images), expected)


def test_steps_are_taken_in_their_order() -> None:
    view, partner = marked_view(2), marked_view(2, first=5)._replace(images=torch.ones(2, 3, 6, 8))
    black = Cutout(area_range=(1.0, 1.0), fill=(0.0, 0.0, 0.0))
    white = CutMix(area_range=(1.0, 1.0), partner=partner)
    first, last = take([black, white], view), take([white, black], view)
    assert (first.images == 1).all()
    assert (last.images == 0).all()


def test_no_steps_are_the_view_and_any_function_may_be_one() -> None:
    view = random_view()
    assert take([], view) is view
    darker = take([lambda seen: seen._replace(images=seen.images / 2)], view)
    assert torch.equal(darker.images, view.images / 2)


def test_views_are_outside_of_autograd() -> None:
    view = random_view()
    view.images.requires_grad_()
    assert not take([Flip(), Jitter()], view).images.requires_grad


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_no_step_waits_for_the_device(step: Step) -> None:
    view = random_view()
    with HostReads() as reads:
        take([step], view)
    assert reads.found == []


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_every_step_draws_anew_and_leaves_the_given_view(step: Step) -> None:
    view = random_view(12)
    before = copied(view)
    first, second = (take([step], view) for _ in range(2))
    always = isinstance(step, Autocontrast | Equalize) or step == Crop()
    assert torch.equal(first.images, second.images) == always
    assert_same(view, before)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_autocast_changes_nothing(step: Step) -> None:
    view = random_view()
    torch.manual_seed(1)
    exact = take([step], view)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(take([step], view), exact)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_steps_are_frozen_so_that_a_list_of_them_may_be_shared(step: Step) -> None:
    with pytest.raises(FrozenInstanceError):
        step.probability = 0.1  # type: ignore[attr-defined]
