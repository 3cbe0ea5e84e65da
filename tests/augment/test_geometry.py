"""Steps that move pixels: by hand, at probability 0 and 1, as one sampling, and shared by several maps."""

from collections import Counter
from typing import Any

import pytest
import torch
from hand_made import K, assert_same, columns_view, copied, random_view
from torch.utils._python_dispatch import TorchDispatchMode

from fewmask.augment.color import Gray, Jitter
from fewmask.augment.geometry import Crop, Flip, GeometricStep, Geometry, Scale
from fewmask.augment.steps import take
from fewmask.augment.view import View
from fewmask.shapes import IGNORE

ALL = (Scale(1.0, (0.5, 2.0)), Flip(0.5), Crop())


class Calls(TorchDispatchMode):
    """Counts the operations by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[func._schema.name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))


def test_a_flip_turns_all_maps_left_for_right() -> None:
    view = random_view()
    flipped = Flip(1.0)(view)
    for name, maps, moved in zip(View._fields, view, flipped, strict=True):
        torch.testing.assert_close(moved, maps.flip(-1), rtol=0, atol=1e-5, msg=name)


def test_a_scale_by_two_shows_the_center() -> None:
    view = Scale(1.0, (2.0, 2.0))(columns_view())
    assert view.labels[0, 0].tolist() == [1, 1, 2, 2]
    torch.testing.assert_close(view.confidence[0, 1], torch.tensor([0.075, 0.125, 0.175, 0.225]))
    torch.testing.assert_close(view.images[:, 2], view.confidence)
    assert view.valid.all()


def test_a_scale_by_half_has_a_border_without_label_confidence_and_validity() -> None:
    view = Scale(1.0, (0.5, 0.5))(columns_view(height=8, width=8))
    inner = torch.zeros(8, 8, dtype=torch.bool)
    inner[2:6, 2:6] = True
    assert torch.equal(view.valid, inner.expand(2, 8, 8))
    assert torch.equal(view.labels == IGNORE, ~view.valid)
    assert (view.confidence[~view.valid] == 0).all()
    assert (view.images[:, 0][~view.valid] == 0).all()


@pytest.mark.parametrize("size", [(3, 5), (6, 20)])
def test_a_crop_shows_neighboring_columns_at_random_places(size: tuple[int, int]) -> None:
    view = Crop(size)(columns_view(num_images=500, height=6, width=20))
    assert view.images.shape == (500, 3, *size)
    first = view.labels[:, :, :1]
    assert torch.equal(view.labels, first + torch.arange(size[1]))
    assert len(set(first[:, 0, 0].tolist())) == (1 if size == (6, 20) else 16)
    assert view.valid.all()


def test_a_crop_larger_than_the_image_holds_all_of_it() -> None:
    view = Crop((8, 12))(columns_view(num_images=20, height=4, width=6))
    assert view.valid.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert all(set(range(6)) <= set(labels.flatten().tolist()) for labels in view.labels)


def test_a_small_image_may_lie_in_the_center_and_a_large_one_is_cut_anywhere() -> None:
    view = columns_view(num_images=50, height=8, width=8)
    small = Geometry((Scale(1.0, (0.5, 0.5)), Crop(centered=True)))(view)
    assert_same(small, Scale(1.0, (0.5, 0.5))(view))
    assert_same(Crop((16, 16), centered=True)(view), Crop((16, 16), centered=True)(view))
    large = Geometry((Scale(1.0, (2.0, 2.0)), Crop(centered=True)))(view)
    assert len(set(large.labels[:, 0, 0].tolist())) > 3


def test_a_crop_of_an_image_that_was_not_scaled_is_the_image() -> None:
    view = random_view()
    found = Crop()(view)
    assert torch.equal(found.labels, view.labels)
    torch.testing.assert_close(found.images, view.images, rtol=0, atol=1e-5)


@pytest.mark.parametrize("step", [Flip(0.0), Scale(0.0, (0.5, 2.0))])
def test_probability_zero_moves_nothing(step: GeometricStep) -> None:
    view = random_view()
    found = step(view)
    for name, maps, expected in zip(View._fields, found, view, strict=True):
        torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("steps", [[Flip(0.5)], [Scale(0.5, (1.5, 2.0))]])
def test_the_probability_holds_per_image(steps: list[GeometricStep]) -> None:
    view = columns_view(num_images=1000, height=2, width=8)
    moved = (take(steps, view).labels != view.labels).flatten(1).any(dim=1)
    assert moved.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_adjacent_geometric_steps_are_one_sampling() -> None:
    with Calls() as calls:
        take([*ALL, Jitter(), Gray()], random_view())
    assert calls.count["grid_sampler_2d"] == 2  # one smooth, one to the nearest pixel


def test_a_list_of_geometric_steps_is_their_geometry() -> None:
    view = random_view()
    torch.manual_seed(3)
    expected = Geometry(ALL)(view)
    torch.manual_seed(3)
    assert_same(take(ALL, view), expected)


def test_a_flip_before_or_after_a_scale_gives_the_same_pixels() -> None:
    view = columns_view(height=12, width=12)
    before = take([Flip(1.0), Scale(1.0, (1.5, 1.5))], view)
    after = take([Scale(1.0, (1.5, 1.5)), Flip(1.0)], view)
    assert_same(before, after)


def test_a_drawn_geometry_moves_two_color_versions_alike() -> None:
    view = random_view()
    shared = Geometry(ALL).draw(view.images)
    clean, colored = shared(view), shared(take([Jitter(1.0)], view))
    assert torch.equal(clean.labels, colored.labels)
    assert torch.equal(clean.valid, colored.valid)
    assert not torch.allclose(clean.images, colored.images, atol=0.01)


@pytest.mark.parametrize("size", [None, (10, 20)])
def test_other_maps_move_like_the_images(size: tuple[int, int] | None) -> None:
    view = random_view()
    placement = Geometry((Scale(1.0, (0.5, 2.0)), Flip(0.5), Crop(size))).draw(view.images)
    moved = placement(view)
    torch.testing.assert_close(placement.maps(view.images), moved.images)
    torch.testing.assert_close(placement.maps(view.confidence[:, None])[:, 0].clamp(0, 1), moved.confidence)


def test_features_on_a_coarser_grid_move_to_the_same_places() -> None:
    """A ramp is linear in the coordinates, so that both grids show the same one where they are inside of the image."""
    ramp, coarse = (torch.arange(1.0, 2 * length, 2).div(length).expand(8, 1, 6, length) for length in (48, 12))
    placement = Geometry((Scale(1.0, (1.2, 2.0)), Flip(0.5), Crop())).draw(torch.rand(8, 3, 24, 48))
    torch.testing.assert_close(
        placement.maps(coarse), torch.nn.functional.avg_pool2d(placement.maps(ramp), (1, 4)), rtol=0, atol=0.04
    )


def test_a_drawn_geometry_passes_gradients_to_the_maps() -> None:
    logits = torch.rand(2, K, 8, 8, requires_grad=True)
    placement = Geometry((Flip(1.0),)).draw(torch.rand(2, 3, 8, 8))
    (gradient,) = torch.autograd.grad(placement.maps(logits)[..., 0].sum(), logits)
    torch.testing.assert_close(gradient[..., -1], torch.ones(2, K, 8), rtol=0, atol=1e-4)


def test_ignored_images_stay_ignored_and_padding_stays_padding() -> None:
    view = random_view()
    view = view._replace(labels=torch.full_like(view.labels, IGNORE), valid=torch.zeros_like(view.valid))
    found = take(ALL, view)
    assert (found.labels == IGNORE).all()
    assert not found.valid.any()


def test_void_pixels_inside_of_the_image_stay_valid() -> None:
    view = random_view()._replace(labels=torch.full((6, 24, 32), IGNORE), valid=torch.ones(6, 24, 32) == 1)
    assert Scale(1.0, (1.0, 2.0))(view).valid.all()


def test_one_pixel_can_be_moved() -> None:
    view = take(ALL, random_view(height=1, width=1))
    assert view.images.isfinite().all()
    assert view.images.shape == (6, 3, 1, 1)


def test_half_precision_is_kept() -> None:
    view = random_view()
    half = view._replace(images=view.images.bfloat16(), confidence=view.confidence.bfloat16())
    torch.manual_seed(1)
    found = take(ALL, half)
    torch.manual_seed(1)
    exact = take(ALL, view)
    assert found.images.dtype == torch.bfloat16
    assert torch.equal(found.labels, exact.labels)
    torch.testing.assert_close(found.images.float(), exact.images, rtol=0, atol=0.02)


def test_the_given_view_is_left_as_it_is() -> None:
    view = random_view()
    before = copied(view)
    take(ALL, view)
    assert_same(view, before)
