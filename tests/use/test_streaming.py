"""A picture in tiles is the picture as a whole, and views are averaged."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from numpy_network import NearestColor, colored, random_labels

from fewmask.data.classes import Classes
from fewmask.models.build import build_net
from fewmask.use import streaming
from fewmask.use.deployed import Deployed, probabilities
from fewmask.use.network import PLAIN, View, augmented_views
from fewmask.use.raster.source import WholeSource
from fewmask.use.streaming import Plan, Way, predict_in_tiles, predict_together
from fewmask.use.torch_network import TorchNetwork
from toy import NAMES, draw_scene

SCENE = draw_scene(np.random.default_rng(0), 211, 307)[0]


@pytest.fixture(scope="module")
def net(tiny_net: Any) -> Any:
    torch.manual_seed(1)
    return build_net(tiny_net, len(NAMES)).eval()


def maps_of(network: Any, pixels: Any, way: Way) -> tuple[Any, Any, Any, Plan]:
    plan = Plan(network, pixels.shape[:2], way)
    if plan.is_whole:
        bands = list(next(predict_together(network, [pixels], plan)))
    else:
        bands = list(predict_in_tiles(network, WholeSource(pixels), plan))
    entropy = np.concatenate([band.entropy for band in bands]) if way.entropy else None
    return np.concatenate([b.labels for b in bands]), np.concatenate([b.confidence for b in bands]), entropy, plan


@pytest.mark.parametrize("resize", [None, 0.5, 1.3])
def test_with_and_without_tiles_the_result_is_the_same_away_from_borders(
    net: Any, resize: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = Deployed(net, resize, Classes(names=NAMES))
    expected = probabilities(deployed, torch.from_numpy(SCENE).permute(2, 0, 1))
    whole = maps_of(TorchNetwork(deployed), SCENE, Way(entropy=True))
    monkeypatch.setattr(streaming, "_WHOLE", 1)
    tiled = maps_of(TorchNetwork(deployed), SCENE, Way(tile=96, overlap=64, entropy=True))
    assert whole[3].is_whole
    assert len(tiled[3].down.starts) * len(tiled[3].across.starts) > 3
    for labels, confidence, entropy, plan in (whole, tiled):
        tolerance = 1e-5 if plan.is_whole else 2e-3  # of a blend, whose margins see a little of the borders of tiles
        first, second = expected.topk(2, dim=0).values.numpy()
        clear = first - second > 2 * tolerance
        assert clear.mean() > 0.5
        assert (labels == expected.argmax(dim=0).numpy())[clear].all()
        assert np.abs(confidence - expected.max(dim=0).values.numpy()).max() < tolerance
        spread = -torch.special.xlogy(expected, expected).sum(dim=0) / np.log(len(NAMES))
        assert np.abs(entropy - spread.numpy()).max() < tolerance


def test_a_grid_that_does_not_fit_the_stride_is_blended_in_pixels(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = Deployed(net, None, Classes(names=NAMES))
    expected = maps_of(TorchNetwork(deployed), SCENE, Way())
    monkeypatch.setattr(TorchNetwork, "cells_per_stride", None)
    found = maps_of(TorchNetwork(deployed), SCENE, Way(tile=96, overlap=64))
    assert not found[3].on_cells
    assert np.abs(found[1] - expected[1]).max() < 2e-3


def test_views_are_averaged_as_probabilities(net: Any) -> None:
    deployed = Deployed(net, 0.5, Classes(names=NAMES))
    views = (View(), View(mirrored=True))
    image = torch.from_numpy(SCENE).permute(2, 0, 1)
    found = maps_of(TorchNetwork(deployed), SCENE, Way(views=views))
    small = deployed._resized(image[None])
    seen = Deployed(net, None, Classes(names=NAMES))
    with torch.no_grad():
        mean = (seen(small) + seen(small.flip(-1)).flip(-1)) / 2
        logits = torch.nn.functional.interpolate(mean.log(), SCENE.shape[:2], mode="bilinear", align_corners=False)
    expected = logits.softmax(dim=1)[0].max(dim=0)
    assert np.abs(found[1] - expected.values.numpy()).max() < 1e-5
    assert (found[0] == expected.indices.numpy()).mean() > 0.999
    assert augmented_views((1.0,)) == views
    assert augmented_views((0.5, 1.0))[0] == View(0.5, False)
    assert (View(),) == PLAIN


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (257, 65)])
def test_pictures_of_any_shape_are_predicted_in_tiles(size: tuple[int, int]) -> None:
    labels = random_labels(*size)
    found = maps_of(NearestColor(), colored(labels), Way(tile=64, overlap=32))
    assert np.array_equal(found[0], labels)


def test_a_picture_is_read_once_and_a_part_at_a_time() -> None:
    labels = random_labels(900, 70)
    asked: list[tuple[int, int]] = []

    class Watched:
        height, width, place = 900, 70, None

        def rows(self, top: int, bottom: int) -> Any:
            asked.append((top, bottom))
            return colored(labels[top:bottom])

    network = NearestColor()
    plan = Plan(network, (900, 70), Way(tile=128, overlap=32))
    found = np.concatenate([maps.labels for maps in predict_in_tiles(network, Watched(), plan)])
    assert np.array_equal(found, labels)
    assert [bottom for _, bottom in asked[:-1]] == [top for top, _ in asked[1:]]
    assert max(bottom - top for top, bottom in asked) <= 128


def test_a_picture_sixteen_times_as_large_takes_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_ROW", 2**20), ("_BAND", 2**14), ("_TOGETHER", 1)):
        monkeypatch.setattr(streaming, name, value)
    peaks = []
    for side in (300, 1200):
        gray = WholeSource(np.broadcast_to(np.uint8(0), (side, side, 3)))  # a view of one byte
        plan = Plan(NearestColor(), (side, side), Way(tile=128, overlap=16))
        tracemalloc.start()
        rows = sum(len(maps.labels) for maps in predict_in_tiles(plan.network, gray, plan))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == side
    assert peaks[1] < 1.1 * peaks[0]
