"""Pre-training by label contrast: its loss, its stages, its pseudo-labels, and as a stage before another method."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from contract import NUM_CLASSES, OFF, begin, build, group_named, last_steps, pretrained, stage_named, toy_batch, train
from fewmask.augment import WEAK, augment_apart, distort
from fewmask.data.batch import Batch, Labeled
from fewmask.errors import UserError
from fewmask.methods import ClassBankMethod, ContrastConfig, LabelContrast, Stage, Supervised
from fewmask.methods.parts import pretraining as pretraining_module
from fewmask.methods.parts.pretraining import DISTORTION, Pretraining
from fewmask.models.build import NetConfig, build_net
from fewmask.ops.contrast import batch_contrast, cross_image_contrast, within_image_contrast
from fewmask.shapes import IGNORE


@pytest.fixture
def net(tiny_net: NetConfig) -> Any:
    torch.manual_seed(0)
    return build(Supervised, tiny_net).student


def labeled_images() -> Any:
    labeled = toy_batch(Supervised, num_images=3).labeled
    labeled.labels[:, -5:] = IGNORE
    return labeled


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("loss", ["within", "cross", "batch"])
def test_the_loss_is_that_of_the_grid_of_images_and_their_distorted_copies(net: Any, loss: str, variant: Any) -> None:
    labeled = labeled_images()
    config = ContrastConfig(loss=loss, variant=variant, temperature=0.3, dim=16, stride=4)
    pretraining = Pretraining(config, net.feature_dim, NUM_CLASSES)
    torch.manual_seed(1)
    found = pretraining(net, [labeled])
    torch.manual_seed(1)
    copies = distort(DISTORTION, labeled.images)
    features = net(torch.cat([labeled.images, copies])).features[:, :, ::4, ::4]
    if variant == "released":  # its BatchNorm sees images and copies apart
        one, other = map(pretraining.projector, features.chunk(2))
    else:
        one, other = pretraining.projector(features).chunk(2)
    labels = labeled.labels[:, ::4, ::4]
    definitions: dict[str, Any] = {
        "within": lambda: within_image_contrast(one, other, labels, 0.3, variant),
        "cross": lambda: cross_image_contrast(one, other, labels, torch.tensor([2, 0, 1]), 0.3, variant),
        "batch": lambda: batch_contrast(one, other, labels, 0.3),
    }
    expected = definitions[loss]()
    torch.testing.assert_close(found, expected)
    assert found > 0


def test_the_label_of_a_cell_is_that_of_the_pixel_where_the_classifier_puts_it(monkeypatch: pytest.MonkeyPatch) -> Any:
    coarse = build_net(NetConfig(arch="fpn", encoder="test_resnet", weights="none"), NUM_CLASSES)
    labeled, seen = labeled_images(), []

    def looked_at(one: Any, other: Any, labels: Tensor, temperature: Any) -> Any:
        seen.append(labels)
        return batch_contrast(one, other, labels, temperature)

    monkeypatch.setattr(pretraining_module, "batch_contrast", looked_at)
    Pretraining(ContrastConfig(loss="batch", dim=16, stride=4), coarse.feature_dim, NUM_CLASSES)(coarse, [labeled])
    padded = F.pad(labeled.labels, (0, 16), value=IGNORE)  # to 32 x 64, by the network
    places = [(round(i * 31 / 7), round(j * 63 / 15)) for i in range(8) for j in range(16)]
    expected = torch.stack([padded[:, i, j] for i, j in places], dim=1).view(-1, 8, 16)
    assert torch.equal(seen[0], expected)


def test_a_batch_that_the_fine_tuning_could_not_train_on_is_refused_before_it() -> None:
    net = build_net(NetConfig(arch="deeplabv3plus", encoder="test_resnet", weights="none"), NUM_CLASSES)
    pretraining = Pretraining(ContrastConfig(dim=16), net.feature_dim, NUM_CLASSES)
    one = Labeled(*(maps[:1] for maps in labeled_images()))
    with pytest.raises(UserError, match="no meaning for a batch of one"):
        pretraining(net, [one])


def test_weak_views_are_made_before_the_copies_and_by_domain(net: Any) -> None:
    domains = [labeled_images(), toy_batch(Supervised, num_images=2).labeled]
    settings = {"dim": 16, "stride": 4, "loss": "batch"}
    torch.manual_seed(1)
    pretraining = Pretraining(ContrastConfig(weak=WEAK, **settings), net.feature_dim, NUM_CLASSES)
    as_they_are = Pretraining(ContrastConfig(**settings), net.feature_dim, NUM_CLASSES)
    as_they_are.load_state_dict(pretraining.state_dict())
    torch.manual_seed(2)
    found = pretraining(net, domains)
    torch.manual_seed(2)
    view = augment_apart(WEAK, domains, NUM_CLASSES)
    torch.testing.assert_close(found, as_they_are(net, [Labeled(view.images, view.labels)]))


def test_a_copy_differs_in_color_and_in_nothing_else() -> None:
    labels = toy_batch(Supervised, num_images=2).labeled.labels
    images = torch.rand(3, NUM_CLASSES)[:, labels].movedim(1, 0)  # of one color a class
    torch.manual_seed(0)
    copies = distort(DISTORTION, images)
    assert not torch.equal(copies, images)
    for copy, own in zip(copies, labels, strict=True):
        for label in own.unique():
            assert len(copy[:, own == label].unique(dim=1)[0]) == 1  # still one color, in every pixel of the class


def test_a_batch_of_one_has_no_other_image_to_cross(net: Any) -> None:
    one = Labeled(*(maps[:1] for maps in labeled_images()))
    for loss, refused in (("within", False), ("batch", False), ("cross", True)):
        pretraining = Pretraining(ContrastConfig(loss=loss, dim=16, stride=4), net.feature_dim, NUM_CLASSES)
        with pytest.raises(UserError, match="another one, and a labeled batch has one") if refused else nullcontext():
            assert pretraining(net, [one]).isfinite()


def test_a_map_of_one_cell_is_refused(net: Any) -> None:
    pretraining = Pretraining(ContrastConfig(stride=1000), net.feature_dim, NUM_CLASSES)
    with pytest.raises(UserError, match=r"one cell.*data\.crop"):
        pretraining(net, [labeled_images()])


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_head_has_three_layers_or_as_released_two_with_batchnorm(variant: Any) -> None:
    kinds = [type(module).__name__ for module in Pretraining(ContrastConfig(variant=variant), 8, NUM_CLASSES).projector]
    assert (
        kinds
        == {
            "paper": ["Conv2d", "ReLU", "Conv2d", "ReLU", "Conv2d"],
            "released": ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d"],
        }[variant]
    )


@pytest.mark.parametrize(("variant", "batches"), [("paper", [6]), ("released", [3, 3])])
def test_the_released_head_normalizes_images_and_copies_apart(net: Any, variant: Any, batches: Any) -> None:
    pretraining = Pretraining(ContrastConfig(variant=variant, dim=8), net.feature_dim, NUM_CLASSES)
    found: list[int] = []
    pretraining.projector.register_forward_hook(lambda head, given, output: found.append(len(given[0])))
    pretraining(net, [labeled_images()])
    assert found == batches


@pytest.mark.parametrize(
    ("pseudo_labels", "expected"),
    [
        (False, [("contrast", 0.25, 1.0), ("train", 0.75, 0.5)]),
        (
            True,
            [
                ("contrast", 0.125, 1.0),
                ("train", 0.375, 0.5),
                ("contrast_again", 0.125, 1.0),
                ("train_again", 0.375, 0.5),
            ],
        ),
    ],
)
def test_stages_share_the_budget_and_fine_tuning_has_a_rate_of_its_own(
    tiny_net: NetConfig, pseudo_labels: Any, expected: Any
) -> None:
    contrast = {"share": 0.25, "finetune_rate": 0.5}
    method = build(LabelContrast, tiny_net, pseudo_labels=pseudo_labels, contrast=contrast)
    assert [tuple(stage)[:3] for stage in method.stages()] == expected
    assert [stage.name.startswith("contrast") for stage in method.stages()] == [s.pretrains for s in method.stages()]


def test_fine_tuning_is_supervised_training(tiny_net: NetConfig) -> None:
    batch = Batch(toy_batch(Supervised).labeled, None)
    found = []
    for kind in (LabelContrast, Supervised):
        method = build(kind, tiny_net)
        torch.manual_seed(1)
        found.append(method.step(batch, method.now(3, 10, "train")).losses)
    assert found[0] == found[1]


def test_pre_training_leaves_the_classifier_alone_and_fine_tuning_the_projector(tiny_net: NetConfig) -> None:
    method, batch = build(LabelContrast, tiny_net), toy_batch(LabelContrast)
    classifier = method.student.parameter_groups()["classifier"]
    projector = list(method.pretraining.projector.parameters())
    for stage, untouched in (("contrast", classifier), ("train", projector)):
        method.zero_grad()
        sum(method.step(batch, method.now(0, 10, stage)).losses.values()).backward()
        touched = [parameter for parameter in method.student.parameters() if parameter.grad is not None]
        assert touched
        assert all(parameter.grad is None for parameter in untouched)


def test_the_second_round_adds_the_pool_with_the_labels_of_the_network_that_ended_the_first(
    tiny_net: NetConfig,
) -> None:
    method, batch = build(LabelContrast, tiny_net, weak=OFF, class_balance=False), toy_batch(LabelContrast)
    batch.unlabeled.valid[:, -6:] = False
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter += 0.01
    before = method.labeler.network.state_dict()
    begin(method, stage_named(method, "train"), batch)
    assert any(not torch.equal(before[name], tensor) for name, tensor in method.student.state_dict().items())
    begin(method, stage_named(method, "contrast_again"), batch)
    after = method.labeler.network.state_dict()
    assert all(
        torch.equal(after[name], tensor)
        for name, tensor in method.student.state_dict().items()
        if tensor.is_floating_point()
    )
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter += 0.01  # the student goes on, the labeler stays
        labels = method.labeler.network(batch.unlabeled.images).logits.argmax(1)
    labels = labels.masked_fill(~batch.unlabeled.valid, IGNORE)
    joined = Labeled(*(torch.cat(pair) for pair in zip(batch.labeled, (batch.unlabeled.images, labels), strict=True)))
    again = method.step(batch, method.now(2, 10, "train_again")).losses["sup"]
    method.zero_grad()
    expected = method.step(Batch(joined, None), method.now(2, 10, "train")).losses["sup"]
    torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-5)


def test_the_second_round_keeps_the_domains_apart(tiny_net: NetConfig) -> None:
    method, batch = build(LabelContrast, tiny_net), toy_batch(LabelContrast, num_images=4)._replace(num_source=2)
    seen: list[Any] = []

    def view(batch: Any) -> Any:
        seen.append(batch)
        return Supervised.view(method, batch)

    method.view = view
    method.step(batch, method.now(2, 10, "train_again"))
    assert torch.equal(seen[0].source.images, batch.source.images)
    assert torch.equal(seen[0].target.images, torch.cat([batch.target.images, batch.unlabeled.images]))


def test_as_a_stage_before_another_method_it_takes_its_share_of_the_steps(tiny_net: NetConfig) -> None:
    method = pretrained(build(ClassBankMethod, tiny_net), share=0.5, finetune_rate=0.3)
    assert method.course() == (Stage("pretrain", 0.5, pretrains=True), Stage("train", 0.5, 0.3))
    steps = list(train(method, toy_batch(ClassBankMethod), 10))
    assert [set(losses) for losses in steps[:5]] == [{"contrast"}] * 5
    alone = list(train(build(ClassBankMethod, tiny_net), toy_batch(ClassBankMethod), 5))
    assert [set(losses) for losses in steps[5:]] == [set(losses) for losses in alone]


def test_the_teacher_of_a_pre_trained_method_starts_as_its_student(tiny_net: NetConfig) -> None:
    method = pretrained(build(ClassBankMethod, tiny_net))
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter += 0.1
        for buffer in method.student.buffers():
            buffer += 1
    before, after = method.course()
    method.open(before, [])
    method.close(method.now(0, 10, "pretrain"))
    pairs = list(zip(method.student.state_dict().values(), method.teacher.state_dict().values(), strict=True))
    assert not any(torch.equal(*pair) for pair in pairs)
    method.open(after, [])
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_pre_trained_method_trains_every_parameter_in_one_of_its_stages(tiny_net: NetConfig) -> None:
    method, batch = pretrained(build(Supervised, tiny_net)), toy_batch(Supervised)
    for now in last_steps(method):
        sum(method.take(batch, now).losses.values()).backward()
    grouped = [id(parameter) for group in method.parameter_groups() for parameter in group.parameters]
    assert len(grouped) == len(set(grouped)) == len(list(method.parameters()))
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_before_a_method_with_a_contrast_of_its_own_both_are_trained(tiny_net: NetConfig) -> None:
    method = pretrained(build(LabelContrast, tiny_net))
    assert [stage.name for stage in method.course()][:3] == ["pretrain", "contrast", "train"]
    for now in last_steps(method):
        sum(method.take(toy_batch(LabelContrast), now).losses.values()).backward()
    assert all(parameter.grad is not None for parameter in method.parameters() if parameter.requires_grad)


def test_a_pre_trained_method_begins_its_own_stages_alone(tiny_net: NetConfig) -> None:
    method, begun = pretrained(build(Supervised, tiny_net)), []
    method.begin = lambda stage, pool: begun.append(stage.name)
    for stage in method.course():
        method.open(stage, [])
    assert begun == ["train"]


def test_before_class_bank_the_selectors_keep_their_own_group(tiny_net: NetConfig) -> None:
    method = build(ClassBankMethod, tiny_net)
    alone = list(map(id, group_named(method, "attention")))
    assert alone
    assert list(map(id, group_named(pretrained(method), "attention"))) == alone
