"""Context consistency: its term cell by cell, its windows, and the cells that take no part."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from contract import OFF, SETTLED, build, gradients, settled, toy_batch
from fewmask.errors import UserError
from fewmask.methods import ContextConsistency, cac
from fewmask.models.build import NetConfig
from fewmask.ops.contrast import Pixels
from fewmask.ops.windows import Windows
from fewmask.shapes import IGNORE

PLAIN: dict[str, Any] = {"weak": OFF, "distortion": OFF}


@pytest.fixture
def batch() -> Any:
    return toy_batch(ContextConsistency)


def literal_term(method: Any, batch: Any, places: Any, temperature: Any = 0.1, threshold: Any = 0.3) -> Any:
    """The two losses and the share of active cells, from windows of 24 x 32 pixels, cell by cell."""
    windows, valid = [], []
    for window in places:
        for top, left, flipped, image, inside in zip(*window, *batch.unlabeled, strict=True):
            area = slice(8 * top, 8 * top + 24), slice(8 * left, 8 * left + 32)
            cut = [plane[..., area[0], area[1]] for plane in (image, inside[None])]
            images, inside = (plane.flip(2) if flipped else plane for plane in cut)
            windows.append(images)
            valid.append(inside[0])
    features = F.avg_pool2d(method.net.features(torch.stack(windows)), 8)
    vectors = F.normalize(method.projector(features), dim=1)
    confidence, classes = method.net.classify_cells(features).softmax(dim=1).max(dim=1)

    seen: list[dict[Any, Any]] = [{}, {}]
    number = len(batch.unlabeled.images)
    for index, inside in enumerate(valid):
        which, image = divmod(index, number)
        top, left, flipped = (part[image] for part in places[which])
        for i in range(3):
            for j in range(4):
                column = left + (3 - j if flipped else j)
                if inside[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].all():
                    pixel = vectors[index, :, i, j], classes[index, i, j].item(), confidence[index, i, j].item()
                    seen[which][image, top + i, column] = pixel
    total, num_active = 0.0, 0
    negatives = [*seen[0].values(), *seen[1].values()]
    for ours, theirs in (seen, seen[::-1]):
        losses = []
        for place in ours.keys() & theirs.keys():
            (a, label, sure), (b, _, surer) = ours[place], theirs[place]
            if surer > sure and surer > threshold:
                pull = (a @ b / temperature).exp()
                push = sum((a @ k / temperature).exp() for k, other, _ in negatives if other != label)
                losses.append(-(pull / (pull + push)).log())
        total += sum(losses) / max(1, len(losses))
        num_active += len(losses)
    return total, num_active / (2 * number * 12)


@pytest.mark.parametrize("padded", [False, True])
def test_the_term_is_that_of_the_cells_that_both_windows_show(
    tiny_net: NetConfig, batch: Any, padded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = settled(build(ContextConsistency, tiny_net, **PLAIN), toy_batch(ContextConsistency, seed=1))
    if padded:
        batch.unlabeled.valid[:, :, :12] = False
        batch.unlabeled.valid[0, -1, -1] = False
    places = [([0, 1], [0, 2], [False, True]), ([1, 0], [1, 0], [True, True])]
    drawn: Any = [[*map(torch.tensor, place), (24, 32), 8] for place in places]
    prepared = iter([Windows(*window) for window in drawn])
    monkeypatch.setattr(cac, "draw_windows", lambda *_: next(prepared))
    found = method.step(batch, SETTLED)
    expected, active_share = literal_term(method, batch, places)
    assert active_share > 0.05
    assert set(found.losses) == {"sup", "context"}
    assert found.losses["context"].item() == pytest.approx(0.1 * expected.item(), rel=1e-3)
    assert found.watch["active"].item() == pytest.approx(active_share)


def test_the_first_share_of_the_run_is_supervised(tiny_net: NetConfig, batch: Any) -> None:
    method = build(ContextConsistency, tiny_net, warmup_share=0.1)
    assert set(method.step(batch, method.now(9, 100)).losses) == {"sup"}
    assert set(method.step(batch, method.now(10, 100)).losses) == {"sup", "context"}


def test_the_projector_is_that_of_the_paper_by_default(tiny_net: NetConfig) -> None:
    method = build(ContextConsistency, tiny_net, dim=128, hidden_dim=256)
    assert (method.config.dim, method.config.hidden_dim) == tuple(
        ContextConsistency.Config.model_fields[name].default for name in ("dim", "hidden_dim")
    )
    first, relu, second = method.projector
    assert first.weight.shape == (256, method.net.feature_dim, 1, 1)
    assert isinstance(relu, nn.ReLU)
    assert second.weight.shape == (128, 256, 1, 1)


@pytest.mark.parametrize(
    ("crop", "cell", "side"), [(512, 8, 384), (48, 8, 32), (32, 8, 24), (15, 8, 8), (8, 8, 8), (512, 24, 384)]
)
def test_a_window_is_three_quarters_of_a_side_on_the_grid_of_the_network(
    tiny_net: NetConfig, crop: Any, cell: Any, side: Any
) -> None:
    method = build(ContextConsistency, tiny_net)
    assert method.net.stride == 8
    assert method._window_side(crop, cell) == side


def test_two_windows_of_three_quarters_always_overlap(tiny_net: NetConfig) -> None:
    method = build(ContextConsistency, tiny_net)
    for cell in (8, 32):
        for crop in range(cell, 700):
            side = method._window_side(crop, cell)
            assert (crop - side) // cell * cell < side <= crop


def test_a_crop_that_is_smaller_than_any_window_is_refused(tiny_net: NetConfig) -> None:
    with pytest.raises(UserError, match=r"data\.crop: a crop of 7 pixels"):
        build(ContextConsistency, tiny_net)._window_side(7, 8)


@pytest.mark.parametrize(
    ("arch", "options", "cell"),
    [
        ("fpn", {}, 8),  # features at stride 4
        ("deeplabv2", {}, 8),
        ("deeplabv3", {"encoder_output_stride": 16}, 16),
        ("pspnet", {"encoder_depth": 5}, 32),
    ],
)
def test_cells_have_8_pixels_or_as_many_as_coarser_features(arch: Any, options: Any, cell: Any) -> None:
    torch.manual_seed(0)
    net = NetConfig(arch=arch, encoder="resnet18", weights="none", options=options)
    method = build(ContextConsistency, net, confidence_threshold=0.0)
    images = torch.rand(2, 3, 64, 96)
    batch = toy_batch(ContextConsistency)
    unlabeled = batch.unlabeled._replace(images=images, valid=torch.ones(2, 64, 96, dtype=torch.bool))
    assert method._cell(batch.labeled.images, method.net(batch.labeled.images)) == cell
    found = method.step(batch._replace(unlabeled=unlabeled), SETTLED)
    assert found.watch["active"] > 0
    assert found.losses["context"] > 0


def test_negatives_are_at_most_so_many_cells_of_a_window_none_of_them_twice(tiny_net: NetConfig) -> None:
    vectors, labels = torch.arange(20.0)[:, None], torch.arange(20)
    pixels = Pixels(vectors, labels, torch.rand(20))
    for number in (20, 30):
        assert build(ContextConsistency, tiny_net, num_negatives=number)._some(pixels) is pixels
    some = build(ContextConsistency, tiny_net, num_negatives=5)._some(pixels)
    assert some.classes.unique().numel() == 5
    assert torch.equal(some.vectors[:, 0], some.classes.float())


@pytest.mark.parametrize("empty", ["no image", "no sure pixel"])
def test_without_active_cells_the_term_is_zero_and_so_are_its_gradients(
    tiny_net: NetConfig, batch: Any, empty: Any
) -> None:
    if empty == "no image":
        batch.unlabeled.valid.zero_()
    method = build(ContextConsistency, tiny_net, confidence_threshold=0.3 if empty == "no image" else 1.0)
    found = method.step(batch, SETTLED)
    assert found.losses["context"] == 0
    assert found.watch["active"] == 0
    reached = [gradient for gradient in gradients(method, found.losses["context"]).values() if gradient is not None]
    assert reached
    assert not any(gradient.any() for gradient in reached)  # which a NaN would be too


def test_cells_outside_the_image_have_no_class(tiny_net: NetConfig, batch: Any) -> None:
    batch.unlabeled.valid[:, :, 20:] = False
    method = build(ContextConsistency, tiny_net, **PLAIN)
    whole = Windows(
        torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long), torch.tensor([0, 1]) > 0, (32, 48), 8
    )
    one, _ = method._pixels(batch.unlabeled, [whole, whole])
    outside = (one.classes == IGNORE).view(2, 4, 6)
    assert outside[0, 0].tolist() == [False, False, True, True, True, True]
    assert torch.equal(outside[1], outside[0].flip(1))
    assert torch.equal(one.confidence.view(2, 4, 6) == 0, outside)
