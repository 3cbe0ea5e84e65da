"""ClassMix: its term against a plain twin of the released loop, what is pasted, what scales it, and its teacher."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from contract import OFF, SETTLED, build, toy_batch, train
from fewmask.methods import ClassMix, Supervised
from fewmask.models.build import NetConfig
from fewmask.ops.mix import draw_class_mask
from fewmask.shapes import IGNORE

MIX_ONLY: dict[str, Any] = {"weak": OFF, "strong": OFF.model_copy(update={"classmix_probability": 1.0})}


@pytest.fixture
def batch() -> Any:
    """Three unlabeled images, the first of them with padding on its right."""
    batch = toy_batch(ClassMix, num_images=3)
    batch.unlabeled.valid[0, :, 30:] = False
    return batch


@pytest.fixture(scope="module")
def learned(tiny_net: NetConfig) -> Any:
    """The state after forty steps, when the teacher sees several classes in an image."""
    method = build(ClassMix, tiny_net)
    list(train(method, toy_batch(ClassMix, num_images=3), 40))
    return method.state_dict()


@pytest.fixture
def make(tiny_net: NetConfig, learned: Any) -> Any:
    def built(**settings: Any) -> Any:
        method = build(ClassMix, tiny_net, **MIX_ONLY | settings)
        method.load_state_dict(learned)
        return method

    return built


def step(method: Any, batch: Any) -> Any:
    """Losses and what is watched of all classes together, as numbers; the mask is the first draw of a step."""
    torch.manual_seed(3)
    losses, watch = method.step(batch, SETTLED)
    return {name: value.item() for name, value in [*losses.items(), *watch.items()] if value.ndim == 0}


def teacher_maps(method: Any, images: Tensor) -> Any:
    """Class probabilities of the images as they are [b k h w]."""
    with torch.no_grad():
        return method.teacher(images).logits.softmax(dim=1)


def released_mix(mask: Any, maps: Any) -> Any:
    """The loop of the released code: the classes of an image, and the next image around them."""
    mask = mask.float()
    return torch.stack([mask[i] * maps[i] + (1 - mask[i]) * maps[(i + 1) % len(maps)] for i in range(len(maps))])


def test_the_term_equals_a_plain_twin_that_mixes_soft_maps(make: Any, batch: Any) -> None:
    images, valid = batch.unlabeled
    soft = teacher_maps(make(), images)
    threshold = soft.amax(dim=1).median().item()
    method = make(confidence_threshold=threshold, pseudo_weight=0.5)
    found = step(method, batch)
    torch.manual_seed(3)
    mask = draw_class_mask(soft.argmax(dim=1).masked_fill(~valid, IGNORE), 4, probability=1.0)
    assert 0.02 < mask.float().mean() < 0.98
    exists = released_mix(mask, valid.float()) == 1
    confidence, labels = released_mix(mask, soft).max(dim=1)
    share = (confidence[exists] >= threshold).float().mean().item()
    each = F.cross_entropy(method.student(released_mix(mask, images)).logits, labels, reduction="none")
    assert found["sure"] == pytest.approx(share, abs=0.005)
    assert found["pseudo"] == pytest.approx(0.5 * found["sure"] * each[exists].mean().item(), rel=1e-3)


def test_pasted_pixels_carry_the_labels_of_their_image_and_the_rest_its_own(make: Any, batch: Any) -> None:
    method = make()
    images, valid = batch.unlabeled
    confidence, classes = teacher_maps(method, images).max(dim=1)
    classes[~valid], confidence[~valid] = IGNORE, 0.0
    mixed = method._mixed(batch.unlabeled)
    num_pasted = 0
    for index, image in enumerate(mixed.images):
        own, neighbor = ((image - images[at]).abs().amax(dim=0) for at in (index, index - 1))
        assert torch.minimum(own, neighbor).max() < 1e-3
        pasted = neighbor < own
        for found, maps in ((mixed.labels, classes), (mixed.confidence, confidence)):
            expected = torch.where(pasted, maps[index - 1], maps[index])
            assert torch.allclose(found[index].float(), expected.float(), atol=1e-3)
        assert (mixed.labels[index][pasted] != IGNORE).all()
        num_pasted += int(pasted.sum())
    assert num_pasted > 0


def test_color_changes_the_images_and_nothing_of_their_labels(make: Any, batch: Any) -> None:
    views = []
    for settings in (MIX_ONLY, {"strong": ClassMix.Config().strong}):
        torch.manual_seed(3)
        views.append(make(**settings)._mixed(batch.unlabeled))
    plain, colored = views
    assert torch.equal(plain.labels, colored.labels)
    assert torch.equal(plain.confidence, colored.confidence)
    assert (plain.images - colored.images).abs().mean() > 0.01


def test_the_share_of_sure_pixels_scales_the_term(make: Any, batch: Any) -> None:
    middle = teacher_maps(make(), batch.unlabeled.images).amax(dim=1).median().item()
    whole, part, none = (step(make(confidence_threshold=threshold), batch) for threshold in (0.0, middle, 1.0))
    assert whole["sure"] == 1
    assert 0 < part["sure"] < 1
    assert part["pseudo"] == pytest.approx(part["sure"] * whole["pseudo"], rel=1e-5)
    assert none["pseudo"] == none["sure"] == 0


def test_class_weights_are_for_the_labeled_term_alone(make: Any, batch: Any) -> None:
    plain, weighted = (step(make(class_balance=balance), batch) for balance in (False, True))
    assert plain["pseudo"] == weighted["pseudo"]
    assert plain["sup"] != weighted["sup"]


def test_the_labeled_term_is_that_of_supervised_training(tiny_net: NetConfig, batch: Any) -> None:
    ours = build(ClassMix, tiny_net, weak=OFF)
    theirs = build(Supervised, tiny_net, weak=OFF, class_balance=False)
    assert step(ours, batch)["sup"] == step(theirs, batch)["sup"]


def test_the_teacher_is_a_true_average_at_first_and_an_exponential_one_later(make: Any) -> None:
    method = make(teacher_momentum=0.9)
    student, teacher = (next(net.parameters()) for net in (method.student, method.teacher))
    for now, weight, expected in (
        (method.now(0, 1000), 4.0, 4.0),
        (method.now(1, 1000), 8.0, 6.0),
        (method.now(500, 1000), 16.0, 7.0),
    ):
        student.data.fill_(weight)
        method.after_update(now)
        assert teacher.flatten()[0].item() == pytest.approx(expected)


def test_the_student_is_shipped() -> None:
    assert ClassMix.needs(ClassMix.Config(name=ClassMix.name)).networks[0] == "student"
