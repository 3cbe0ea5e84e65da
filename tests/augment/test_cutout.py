"""Cutout: one box of one color, which counts for nothing, or all but a box."""

import pytest
import torch
from hand_made import assert_same, copied, random_view

from fewmask.augment.cutout import Cutout
from fewmask.shapes import IGNORE


@pytest.mark.parametrize("keeps_box", [False, True])
def test_what_is_cut_out_has_one_color_and_counts_for_nothing(keeps_box: bool) -> None:
    view = random_view(20, 40, 60)
    before = copied(view)
    found = Cutout(area_range=(0.3, 0.3), keeps_box=keeps_box, fill=(0.1, 0.2, 0.3))(view)
    out = (found.images == torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)).all(dim=1)
    assert out.float().mean().item() == pytest.approx(0.7 if keeps_box else 0.3, abs=0.03)
    assert torch.equal(found.images, torch.where(out[:, None], found.images, view.images))
    assert torch.equal(found.labels, view.labels.masked_fill(out, IGNORE))
    assert torch.equal(found.confidence, view.confidence.masked_fill(out, 0))
    assert torch.equal(found.valid, view.valid & ~out)
    assert_same(view, before)


def test_probability_zero_is_the_identity_and_a_probability_holds_per_image() -> None:
    view = random_view(1000, 4, 4)
    assert_same(Cutout(0.0)(view), view)
    changed = (Cutout(0.3, area_range=(0.5, 0.5))(view).images != view.images).flatten(1).any(dim=1)
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.05)


def test_all_of_an_image_of_one_pixel_and_of_half_precision() -> None:
    view = random_view(2, 1, 1)
    view = view._replace(images=view.images.bfloat16(), confidence=view.confidence.bfloat16())
    found = Cutout(area_range=(1.0, 1.0), fill=(0.5, 0.5, 0.5))(view)
    assert found.images.dtype == found.confidence.dtype == torch.bfloat16
    assert (found.images == 0.5).all()
    assert not found.valid.any()
