"""CutMix and CutOut: their term against plain twins, what counts, what scales it, and the teacher that is shipped."""

from typing import Any

import pytest
import torch
from torch import Tensor

from contract import OFF, SETTLED, HostReads, build, gradients, settled, toy_batch
from fewmask.methods import CutMix, Supervised
from fewmask.methods.cutmix import _consistency, _Cut
from fewmask.models.build import NetConfig
from fewmask.ops.mix import draw_box_mask

MASKS = ("cutmix", "cutout")
AREAS: dict[str, Any] = {"cutmix": (0.5, 0.5), "cutout": (0.0, 1.0)}


@pytest.fixture
def batch() -> Any:
    """Three unlabeled images, the first of them with padding on its right."""
    batch = toy_batch(CutMix, num_images=3)
    batch.unlabeled.valid[0, :, 30:] = False
    return batch


@pytest.fixture(scope="module")
def learned(tiny_net: NetConfig) -> Any:
    """The state after ten steps, when the teacher is sure of a part of the pixels."""
    return settled(build(CutMix, tiny_net), toy_batch(CutMix, num_images=3)).state_dict()


@pytest.fixture
def make(tiny_net: NetConfig, learned: Any) -> Any:
    def built(**settings: Any) -> Any:
        method = build(CutMix, tiny_net, **{"weak": OFF} | settings)
        method.load_state_dict(learned)
        return method

    return built


def step(method: Any, batch: Any) -> Any:
    """Losses and what is watched of all classes together, as numbers; the box is the first draw of a step."""
    torch.manual_seed(3)
    losses, watch = method.step(batch, SETTLED)
    return {name: value.item() for name, value in [*losses.items(), *watch.items()] if value.ndim == 0}


def teacher_logits(method: Any, images: Tensor) -> Any:
    with torch.no_grad():
        return method.teacher(images).logits


@pytest.mark.parametrize("mask", MASKS)
def test_the_term_equals_a_plain_twin(make: Any, batch: Any, mask: Any) -> None:
    images, valid = batch.unlabeled
    logits = teacher_logits(make(), images)
    threshold = logits.softmax(dim=1).amax(dim=1).median().item()
    method = make(mask=mask, confidence_threshold=threshold, consistency_weight=0.5)
    found = step(method, batch)
    torch.manual_seed(3)
    box = draw_box_mask(3, (32, 48), torch.device("cpu"), AREAS[mask])
    normalized, cut, targets, counts = (images - method.net.mean) / method.net.std, [], [], []
    for index in range(3):
        inside = box[index - 1] if mask == "cutmix" else box[index]
        if mask == "cutmix":
            cut.append(normalized[index] * ~inside + normalized[index - 1] * inside)
            targets.append(logits[index] * ~inside + logits[index - 1] * inside)
            counts.append((valid[index] & ~inside) | (valid[index - 1] & inside))
        else:
            cut.append(normalized[index] * inside)
            targets.append(logits[index])
            counts.append(valid[index] & inside)
    wanted, counted = torch.stack(targets).softmax(dim=1), torch.stack(counts)
    predicted = method.student(torch.stack(cut) * method.net.std + method.net.mean).logits.softmax(dim=1)
    share = (wanted.amax(dim=1) >= threshold).float().mean().item()
    distances = ((predicted - wanted) ** 2).sum(dim=1)
    assert 0.1 < share < 0.9
    assert found["sure"] == pytest.approx(share, abs=0.005)
    expected = 0.5 * found["sure"] * (distances[counted].sum() / counted.numel()).item()
    assert found["consistency"] == pytest.approx(expected, rel=1e-3)


def test_opposite_predictions_are_two_apart_and_only_counted_pixels_add_to_the_mean() -> None:
    target = torch.zeros(1, 4, 2, 2)
    target[:, 1] = 1.0
    counts = torch.tensor([[[True, False], [False, False]]])
    logits = torch.zeros(1, 4, 2, 2)
    logits[:, 0] = 50.0
    assert _consistency(logits, _Cut(torch.rand(1, 3, 2, 2), target, counts)).item() == pytest.approx(2 / 4)


def test_cutout_shows_the_mean_color_outside_of_the_box_and_counts_nothing_there(make: Any, batch: Any) -> None:
    method = make(mask="cutout")
    cut = method._cut(batch.unlabeled)
    kept = (cut.images == batch.unlabeled.images).all(dim=1)
    assert torch.equal(cut.counts, kept & batch.unlabeled.valid)
    assert 0 < kept.sum() < kept.numel()
    assert torch.equal(cut.images, torch.where(kept[:, None], batch.unlabeled.images, method.net.mean))


def test_cutmix_shows_half_of_the_neighbor_and_counts_where_either_is_an_image(make: Any, batch: Any) -> None:
    images, valid = batch.unlabeled
    cut = make()._cut(batch.unlabeled)
    pasted = (cut.images != images).any(dim=1)
    assert torch.equal(cut.images, torch.where(pasted[:, None], images.roll(1, dims=0), images))
    assert pasted.float().mean(dim=(1, 2)).tolist() == pytest.approx([0.5] * 3, abs=0.03)
    assert torch.equal(cut.counts, torch.where(pasted, valid.roll(1, dims=0), valid))


@pytest.mark.parametrize("mask", MASKS)
def test_the_share_of_sure_pixels_scales_the_term(make: Any, batch: Any, mask: Any) -> None:
    middle = teacher_logits(make(), batch.unlabeled.images).softmax(dim=1).amax(dim=1).median().item()
    whole, part, none = (step(make(mask=mask, confidence_threshold=each), batch) for each in (0.0, middle, 1.0))
    assert whole["sure"] == 1
    assert 0 < part["sure"] < 1
    assert part["consistency"] == pytest.approx(part["sure"] * whole["consistency"], rel=1e-5)
    assert none["consistency"] == none["sure"] == 0


def test_cutout_holds_what_the_contract_asks_of_the_default(make: Any, batch: Any) -> None:
    method = make(mask="cutout", confidence_threshold=0.0)
    with HostReads() as reads:
        losses = method.step(batch, SETTLED).losses
    assert reads.found == []
    assert any(found is not None and found.any() for found in gradients(method, losses["consistency"]).values())
    batch.unlabeled.valid.zero_()
    empty = method.step(batch, SETTLED).losses["consistency"]
    assert empty == 0
    assert all(found.isfinite().all() for found in gradients(method, empty).values() if found is not None)


def test_the_labeled_term_is_that_of_supervised_training(tiny_net: NetConfig, batch: Any) -> None:
    ours = build(CutMix, tiny_net, weak=OFF)
    theirs = build(Supervised, tiny_net, weak=OFF, class_balance=False)
    assert step(ours, batch)["sup"] == step(theirs, batch)["sup"]


def test_the_teacher_averages_parameters_and_buffers_and_is_shipped(make: Any) -> None:
    method = make(teacher_momentum=0.9)
    assert next(iter(CutMix.needs(CutMix.Config()).networks)) == "teacher"
    pairs = [
        *zip(method.student.parameters(), method.teacher.parameters(), strict=True),
        *zip(method.student.buffers(), method.teacher.buffers(), strict=True),
    ]
    pairs = [(student, teacher) for student, teacher in pairs if student.is_floating_point()]
    for now, weight, expected in (
        (method.now(0, 1000), 4.0, 4.0),
        (method.now(1, 1000), 8.0, 6.0),
        (method.now(500, 1000), 16.0, 7.0),
    ):
        for student, _ in pairs:
            student.data.fill_(weight)
        method.after_update(now)
        assert all(torch.allclose(teacher, torch.full_like(teacher, expected)) for _, teacher in pairs)
