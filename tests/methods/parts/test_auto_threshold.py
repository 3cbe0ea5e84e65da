"""Thresholds land where held-out predictions are right often enough, and a step finds them without a host sync."""

from pathlib import Path
from typing import Any

import pytest
import torch

from contract import HostReads, build, toy_batch, train, why_not_static, without_labels
from fewmask.augment import View
from fewmask.data.folder import read_folder
from fewmask.data.loader import Draws, StepBatches
from fewmask.data.partition import hold_out
from fewmask.errors import UserError
from fewmask.methods import METHODS
from fewmask.methods.parts.auto_threshold import FEWEST, NUM_BINS, AutoThreshold, is_sure
from fewmask.models.build import NetConfig
from fewmask.recipe import make_recipe
from fewmask.shapes import IGNORE
from fewmask.training.prepare import prepare_data
from toy import NET, TRAINING


def seen(confidence: list[float], predicted: list[int], labels: list[int], copies: int = 1) -> AutoThreshold:
    """What is known after one image with these pixels, each several times over, of two classes."""
    first = torch.tensor([sure if label == 0 else 1 - sure for sure, label in zip(confidence, predicted, strict=True)])
    logits = torch.stack([first, 1 - first]).log()[None, :, None].repeat(1, 1, copies, 1)
    found = AutoThreshold(2)
    found.observe(logits, torch.tensor(labels)[None, None].repeat(1, copies, 1))
    return found


def test_the_threshold_of_a_class_lands_where_its_predictions_are_right_often_enough() -> None:
    confidence = [0.555, 0.655, 0.755, 0.855, 0.955, 0.555, 0.955]
    predicted = [0, 0, 0, 0, 0, 1, 1]
    labels = [1, 1, 0, 1, 0, 1, 1]  # class 0 is right in 2 of 5, 2 of 4, 2 of 3, 1 of 2 and 1 of 1
    found = seen(confidence, predicted, labels, copies=2000)
    for precision, expected in ((0.4, 0.55), (0.45, 0.65), (0.6, 0.75), (0.8, 0.95)):
        torch.testing.assert_close(found.thresholds(precision), torch.tensor([expected, 0.55]))


def test_a_class_with_few_pixels_has_the_threshold_of_all_and_what_is_never_right_the_highest() -> None:
    found = seen([0.65, 0.95, 0.75], [0, 0, 1], [1, 0, 0], copies=round(0.6 * FEWEST))
    pooled = found.thresholds(0.9)
    torch.testing.assert_close(pooled, torch.tensor([0.95, 0.95]))  # class 1 alone would have none
    never = torch.full((2,), (NUM_BINS - 1) / NUM_BINS)
    torch.testing.assert_close(AutoThreshold(2).thresholds(0.9), never)
    torch.testing.assert_close(seen([0.75], [0], [IGNORE], copies=5000).thresholds(0.9), never)
    torch.testing.assert_close(seen([0.75], [0], [1], copies=5000).thresholds(0.9), never)


def test_older_predictions_fade() -> None:
    found = seen([0.75], [0], [1], copies=5000)
    for _ in range(700):  # 0.99 ** 700 is a thousandth
        found.observe(torch.tensor([1.1, 0.0]).view(1, 2, 1, 1).expand(1, 2, 10, 200), torch.zeros(1, 10, 200).long())
    assert found.thresholds(0.9)[0] == pytest.approx(0.75)


@pytest.mark.parametrize("name", ["fixmatch", "augseg", "pixcon"])
def test_a_method_finds_its_thresholds_and_carries_them_on(name: str, tiny_net: NetConfig) -> None:
    method_type: Any = next(each for each in METHODS if each.name == name)
    settings: dict[str, Any] = {"confidence_threshold": "auto", "threshold_precision": 0.5}
    if name == "pixcon":
        settings["anchors"] = "confident"
    batches = [toy_batch(method_type, seed)._replace(held_out=toy_batch(method_type, 9).labeled) for seed in range(3)]
    method = build(method_type, tiny_net, **settings)
    assert method.needs(method.config).held_out
    list(train(method, batches[0], 5))
    assert method.auto_threshold.counts.sum() > 0
    other = build(method_type, tiny_net, seed=1, **settings)
    other.load_state_dict(method.state_dict())
    steps = []
    for each in (method, other):
        torch.manual_seed(5)
        steps.append(each.step(batches[1], each.now(5, 10)))
    assert steps[0].losses == steps[1].losses
    assert torch.equal(steps[0].watch["threshold"], steps[1].watch["threshold"])
    assert method.net.training
    with HostReads() as reads:
        method.step(batches[1], method.now(5, 10))
    assert reads.found == []
    assert why_not_static(method, [*batches[:2], without_labels(batches[2])]) is None


def test_every_pixel_is_held_to_the_threshold_of_its_class() -> None:
    labels, confidence = torch.tensor([[[0, 1, IGNORE]]]), torch.full((1, 1, 3), 0.7)
    view = View.of(torch.zeros(1, 3, 1, 3), labels, confidence)
    assert is_sure(view, torch.tensor([0.8, 0.6]))[0, 0, :2].tolist() == [False, True]
    assert is_sure(view, 0.5).all()


def test_held_out_images_are_in_every_batch_and_never_learned_from(dataset: Path) -> None:
    method = {"name": "fixmatch", "confidence_threshold": "auto"}
    data = prepare_data(
        make_recipe({"data": {"root": str(dataset)}, "net": NET, "method": method, "training": TRAINING})
    )
    assert data.held_out is not None
    assert (len(data.labeled), len(data.held_out)) == (3, 1)
    learned = [data.labeled.picture(place).image for place in range(3)]
    assert not any(torch.equal(data.held_out.picture(0).image, image) for image in learned)
    draws = Draws(0, 0, data.crop, num_labeled=2, num_unlabeled=2)
    for step in range(3):
        batch = StepBatches(data.labeled, data.unlabeled, draws, held_out=data.held_out)[step].to(torch.device("cpu"))
        assert batch.held_out is not None
        torch.testing.assert_close(batch.held_out.images[0], data.held_out.picture(0).image / 255)
        assert torch.equal(batch.held_out.labels[0], data.held_out.picture(0).labels.long())  # type: ignore[union-attr]


def test_no_image_is_held_out_that_alone_has_a_class(dataset: Path) -> None:
    folder = read_folder(dataset)
    learned, kept = hold_out(folder.train, folder.classes, split_seed=0)
    assert sorted([*learned, *kept]) == sorted(folder.train)
    assert len(kept) == 1
    with pytest.raises(UserError, match="no labeled image can be kept from learning"):
        hold_out(folder.train[:1], folder.classes, split_seed=0)
