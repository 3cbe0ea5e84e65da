"""Mixing steps paste whole pixels, with all their maps, from the partner that they are told."""

import pytest
import torch
from hand_made import K, assert_same, copied, marked_view, random_view

from fewmask.augment.mix import BetaCutMix, ClassMix, CopyClasses, CutMix, MixingStep
from fewmask.augment.view import View
from fewmask.errors import UserError
from fewmask.shapes import IGNORE

STEPS: list[MixingStep] = [
    ClassMix(K),
    CutMix(),
    CutMix(area_range=(0.1, 0.4), ratio_range=(0.3, 3.3)),
    CutMix(num_boxes=3),
    BetaCutMix(4, 4),
    CopyClasses(torch.full((K,), 0.5)),
]


def assert_pasted(mixed: View, view: View, partner: View) -> int:
    """Every pixel is, in all its maps, that of the image or that of the partner; the number of the latter."""
    pasted = mixed.confidence == partner.confidence
    for maps, own, given in zip(mixed, view, partner, strict=True):
        mask = pasted if maps.dim() == 3 else pasted[:, None]
        assert torch.equal(maps, torch.where(mask, given, own))
    return int(pasted.sum())


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_all_maps_come_from_the_neighbor_in_the_batch(step: MixingStep) -> None:
    view = random_view()
    before = copied(view)
    assert 0 < assert_pasted(step(view), view, view.neighbors()) < view.labels.numel()
    assert_same(view, before)


@pytest.mark.parametrize("step", STEPS, ids=str)
@pytest.mark.parametrize("num_partners", [6, 2, 9])
def test_all_maps_come_from_the_view_that_is_the_partner(step: MixingStep, num_partners: int) -> None:
    view, partner = random_view(), random_view(num_partners)
    mixed = step.of(partner)(view)
    assert 0 < assert_pasted(mixed, view, partner.repeated(6)) < view.labels.numel()


def test_a_partner_of_another_size_is_refused() -> None:
    with pytest.raises(UserError, match="32 x 24 pixels are mixed with images of 32 x 8"):
        CutMix(partner=random_view(height=8))(random_view())


def test_other_maps_are_pasted_at_the_same_places() -> None:
    view, logits = random_view(), torch.rand(6, K, 24, 32)
    pasting = CutMix().draw(view)
    assert torch.equal(pasting.maps(logits), torch.where(pasting.mask[:, None], logits.roll(1, dims=0), logits))
    assert torch.equal(pasting.maps(view.images), pasting(view).images)


@pytest.mark.parametrize("num_partners", [6, 2])
def test_other_maps_come_from_the_maps_of_the_partner(num_partners: int) -> None:
    view, partner = random_view(), random_view(num_partners)
    pasting = CutMix(partner=partner).draw(view)
    assert torch.equal(pasting.maps(view.images, partner.images), pasting(view).images)
    with pytest.raises(AssertionError, match="belong to a partner"):
        pasting.maps(view.images)


def test_half_of_the_classes_of_the_partner_are_pasted() -> None:
    view = marked_view(2, first=7)
    labels = torch.tensor([0, 1, 2, 3]).expand(2, 6, 4).repeat_interleave(2, dim=2)
    mixed = ClassMix(K, partner=marked_view(2)._replace(labels=labels))(view)
    for image in mixed.labels:
        assert len(set(image.flatten().tolist()) - {7, 8}) == 2


def test_a_box_has_its_share_of_the_image() -> None:
    view, partner = marked_view(50, 40, 60), marked_view(50, 40, 60, first=100)
    mixed = CutMix(area_range=(0.3, 0.3), partner=partner)(view)
    assert (mixed.labels >= 100).float().mean(dim=(1, 2)).sub(0.3).abs().max() < 0.03
    assert torch.equal(mixed.valid, view.valid)


def test_copies_are_those_of_the_likely_classes() -> None:
    labeled = random_view()
    mixed = CopyClasses(torch.tensor([0.0, 0.0, 1.0, 0.0]), partner=labeled)(marked_view(6, 24, 32, first=7))
    copied_pixels = mixed.labels < 7
    assert torch.equal(copied_pixels, labeled.labels == 2)
    assert torch.equal(mixed.confidence[copied_pixels], labeled.confidence[copied_pixels])
    assert mixed.valid[copied_pixels].all()


@pytest.mark.parametrize(
    "step", [ClassMix(K, 0.0), CutMix(0.0), BetaCutMix(4, 4, torch.zeros(6)), CopyClasses(torch.zeros(K))], ids=str
)
def test_probability_zero_pastes_nothing(step: MixingStep) -> None:
    view = random_view()
    assert_same(step(view), view)


@pytest.mark.parametrize("step", [ClassMix(2, 0.3), CutMix(0.3), BetaCutMix(1, 9, torch.full((1000,), 0.3))], ids=str)
def test_the_probability_holds_per_image(step: MixingStep) -> None:
    view = marked_view(1000, 2, 2)._replace(labels=torch.tensor([[0, 0], [1, 1]]).expand(1000, 2, 2))
    mixed = (step(view).confidence != view.confidence).flatten(1).any(dim=1)
    assert mixed.float().mean().item() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("step", [ClassMix(K), CopyClasses(torch.ones(K))], ids=str)
def test_ignored_pixels_are_never_pasted(step: MixingStep) -> None:
    view = random_view()
    ignored = random_view()._replace(labels=torch.full((6, 24, 32), IGNORE))
    assert_same(step.of(ignored)(view), view)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_an_image_alone_is_its_own_neighbor(step: MixingStep) -> None:
    for view in (random_view(1), random_view(1, height=1, width=1)):
        assert_same(step(view), view)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_half_precision_is_kept(step: MixingStep) -> None:
    view = random_view()
    half = view._replace(images=view.images.bfloat16(), confidence=view.confidence.bfloat16())
    mixed = step.of(random_view())(half)
    assert mixed.images.dtype == mixed.confidence.dtype == torch.bfloat16


def test_a_step_with_another_partner_keeps_its_numbers() -> None:
    step, partner = CutMix(0.5, (0.1, 0.2)), random_view()
    assert step.of(partner) == step
    assert step.of(partner).partner is partner
    assert step.partner is None
