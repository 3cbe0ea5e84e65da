"""The views of published methods are short lists of steps, and the page that shows them runs."""

import re
from pathlib import Path

import pytest
import torch
from hand_made import K
from torch import Tensor

from fewmask.augment.augmentation import STRONG
from fewmask.augment.color import Blur, Gray, Jitter, SomeOf
from fewmask.augment.cutout import Cutout
from fewmask.augment.geometry import Crop, Flip, Geometry, Scale
from fewmask.augment.mix import BetaCutMix, ClassMix, CopyClasses, CutMix
from fewmask.augment.steps import Step, take
from fewmask.augment.tone import Autocontrast, Enhance, Equalize, Posterize, Solarize
from fewmask.augment.view import View
from fewmask.shapes import IGNORE

PAGE = Path(__file__).parents[2] / "docs" / "augmentation.md"

WEAK: list[Step] = [Scale(1.0, (0.5, 2.0)), Flip(0.5), Crop()]
COLORS: list[Step] = [Jitter(0.8), Gray(0.2), Blur(0.5)]
BOX = CutMix(0.5, area_range=(0.02, 0.4), ratio_range=(0.3, 3.33))


def images_in_color(num_images: int = 4, height: int = 24, width: int = 32) -> Tensor:
    """Columns whose colors tell their class to `teacher`."""
    ramp = torch.arange(width).expand(num_images, 3, height, width) / width
    return (ramp * torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1)).contiguous()


def teacher(images: Tensor) -> Tensor:
    """Logits [b k h w] that depend on the red of a pixel."""
    centers = (torch.arange(K) + 0.5) / K
    return -40 * (images[:, :1] - centers.view(K, 1, 1)).square()


def predict(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pseudo-labels and how sure the teacher is of them."""
    confidence, labels = teacher(images).softmax(dim=1).max(dim=1)
    return labels, confidence


def all_valid(images: Tensor) -> Tensor:
    return torch.ones_like(images[:, 0], dtype=torch.bool)


def pseudo_labeled(images: Tensor) -> View:
    weak = take(WEAK, View.of(images, valid=all_valid(images)))
    return weak.with_pseudo_labels(*predict(weak.images))


def test_every_example_of_the_page_runs() -> None:
    images, more_images = images_in_color(), images_in_color().flip(3)
    names = dict(globals()) | {
        "images": images,
        "more_images": more_images,
        "labels": predict(images)[0],
        "valid": all_valid(images),
        "labeled_images": more_images[:2],
        "masks": predict(more_images[:2])[0],
        "rarity": torch.tensor([0.0, 0.0, 0.5, 1.0]),
    }
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(examples) == 5
    for example in examples:
        exec(example, names)

    first, second = names["first"], names["second"]
    assert not torch.equal(first.images, second.images)
    assert torch.equal(names["clean"].valid, names["colored"].valid)
    assert names["logits"].shape == (4, K, 24, 32)
    assert (names["richer"].confidence == 1).any()


def test_the_page_names_every_step() -> None:
    page = PAGE.read_text()
    steps = (Scale, Flip, Crop, Jitter, Gray, Blur, SomeOf, Enhance, Autocontrast, Equalize, Solarize, Posterize)
    for step in (*steps, ClassMix, CutMix, BetaCutMix, CopyClasses, Cutout):
        assert f"`{step.__name__}`" in page
    assert len(page.splitlines()) <= 80


def test_fixmatch_teaches_two_color_versions_of_one_geometry() -> None:
    weak = pseudo_labeled(images_in_color())
    first, second = take(COLORS, weak), take(COLORS, weak)
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.labels, weak.labels)
    assert not torch.equal(first.images, second.images)


def test_unimatch_cuts_a_box_of_its_own_into_each_strong_view() -> None:
    weak, other = pseudo_labeled(images_in_color(40)), pseudo_labeled(torch.rand(40, 3, 24, 32))
    partners = [take(COLORS, other) for _ in range(2)]
    first, second = (take([*COLORS, BOX.of(partner)], weak) for partner in partners)
    for view in (first, second):
        pasted = view.labels != weak.labels
        assert torch.equal(view.labels, torch.where(pasted, other.labels, weak.labels))
        assert pasted.flatten(1).any(dim=1).float().mean().item() == pytest.approx(0.5, abs=0.25)
    assert not torch.equal(first.labels, second.labels)


def test_cutmix_of_french_et_al_mixes_the_teachers_logits_as_the_images() -> None:
    view = View.of(images_in_color() * torch.tensor([0.2, 0.5, 0.8, 1.0]).view(4, 1, 1, 1))
    cut = CutMix(area_range=(0.5, 0.5)).draw(view)
    mixed, logits = cut(view), cut.maps(teacher(view.images))
    torch.testing.assert_close(logits, teacher(mixed.images))


def test_cutout_of_french_et_al_keeps_a_box_that_counts() -> None:
    view = Cutout(area_range=(0.0, 1.0), keeps_box=True)(View.of(images_in_color()))
    assert 0 < view.valid.float().mean() < 1


def test_classmix_mixes_pseudo_labels_with_their_confidence_and_then_changes_colors() -> None:
    images = images_in_color()
    view = View.of(images, valid=all_valid(images)).with_pseudo_labels(*predict(images))
    mixed = take([ClassMix(K), *COLORS], view)
    changed = mixed.labels != view.labels
    assert torch.equal(mixed.confidence[~changed], view.confidence[~changed])
    assert take([ClassMix(K)], pseudo_labeled(images)).labels.shape == images[:, 0].shape


def test_reco_mixes_first_and_moves_labels_and_confidence_after() -> None:
    mixed = take([CutMix(), *WEAK, *COLORS], pseudo_labeled(images_in_color()))
    assert (mixed.confidence[mixed.labels == IGNORE] < 1).all()
    assert mixed.confidence.max() > 0.5


def test_augseg_draws_a_random_number_of_color_steps() -> None:
    colors = SomeOf(
        [
            Autocontrast(),
            Equalize(),
            Blur(1.0, (0.1, 2.0)),
            *(Enhance(of) for of in ("contrast", "brightness", "saturation", "sharpness")),
            Posterize(),
            Solarize(),
            Jitter(1.0, 0.0, 0.0, 0.0, 0.5),
        ],
        fewest=0,
        most=3,
    )
    weak = pseudo_labeled(torch.rand(40, 3, 24, 32))
    strong = take([colors], weak)
    unchanged = (strong.images == weak.images).flatten(1).all(dim=1).float().mean().item()
    assert unchanged == pytest.approx(0.25, abs=0.2)
    assert torch.equal(strong.labels, weak.labels)


def test_rare_labeled_classes_are_copied_into_unlabeled_images() -> None:
    labels = torch.randint(0, K, (2, 24, 32))
    labeled = take([Flip(0.5)], View.of(torch.rand(2, 3, 24, 32), labels))
    unlabeled = pseudo_labeled(images_in_color())
    rarity = torch.tensor([0.0, 0.0, 0.0, 1.0])
    richer = CopyClasses(rarity, partner=labeled)(unlabeled)
    copied = labeled.repeated(4).labels == 3
    assert (richer.labels[copied] == 3).all()
    assert torch.equal(richer.labels[~copied], unlabeled.labels[~copied])
    assert torch.equal(richer.images[:, 0][copied], labeled.repeated(4).images[:, 0][copied])


def test_the_numbers_of_a_recipe_make_a_list_of_steps() -> None:
    names = [type(step).__name__ for step in STRONG.steps(K)]
    assert names == ["ClassMix", "Scale", "Flip", "Crop", "Jitter", "Gray", "Blur"]


def test_a_teachers_logits_of_the_whole_image_follow_into_the_view() -> None:
    images = images_in_color()
    shared = Geometry((Flip(1.0),)).draw(images)
    torch.testing.assert_close(shared.maps(teacher(images)), teacher(images.flip(3)), rtol=0, atol=1e-4)
