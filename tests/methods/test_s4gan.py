"""s4GAN: its terms against their definitions, which images pass, and who trains whom."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from contract import OFF, SETTLED, build, critics, gradients, toy_batch
from fewmask.methods import S4GAN
from fewmask.models.build import NetConfig
from fewmask.shapes import IGNORE
from fewmask.use.export.core import Core


@pytest.fixture
def batch() -> Any:
    """Two labeled and two unlabeled images; some pixels have no label, some are padding."""
    batch = toy_batch(S4GAN)
    batch.labeled.labels[:, -5:] = IGNORE
    batch.unlabeled.valid[:, :, -10:] = False
    return batch


def without_dropout(tiny_net: NetConfig, **settings: Any) -> Any:
    """The method with a discriminator that scores an image the same twice, and two images differently."""
    method = build(S4GAN, tiny_net, weak=OFF, **settings)
    for parameter in critics(method):
        parameter.data *= 3
    method.discriminator.eval()
    return method


def test_every_term_is_its_definition(tiny_net: NetConfig, batch: Any) -> None:
    method = without_dropout(tiny_net, feature_matching_weight=0.5, self_training_weight=0.25)
    (images, labels), (more, valid), *_ = batch
    labeled_logits, logits = method.student(images).logits, method.student(more).logits
    truth = F.one_hot(labels.clamp(max=4), 5)[..., :4].permute(0, 3, 1, 2).float()
    fake = method.discriminator(logits.softmax(dim=1) * valid[:, None], more)
    true = method.discriminator(truth, images)
    scores = fake.logits.sigmoid()
    assert (scores[0] - scores[1]).abs() > 1e-4
    best = scores.argmax()
    method.config = method.config.model_copy(update={"threshold": scores.mean().item()})
    losses, watch = method.step(batch, SETTLED)

    distances = [abs(fake.features[:, d].mean() - true.features[:, d].mean()) for d in range(512)]
    told_fake = [-math.log(1 - score) for score in scores.tolist()]
    told_true = [-math.log(score) for score in true.logits.sigmoid().tolist()]
    expected = {
        "sup": F.cross_entropy(labeled_logits, labels, ignore_index=IGNORE).item(),
        "feature_matching": 0.5 * sum(distances).item() / 512,
        "self_training": 0.25 * -logits.log_softmax(dim=1).amax(dim=1)[best][valid[best]].mean().item(),
        "disc": (sum(told_fake) / 2 + sum(told_true) / 2) / 2,
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-3)
    assert watch["passed_images"] == 0.5


def test_an_image_passes_above_the_threshold_and_not_at_it(tiny_net: NetConfig, batch: Any) -> None:
    for threshold, passed in ((0.499, 1), (0.5, 0)):
        method = build(S4GAN, tiny_net, threshold=threshold)
        for parameter in method.discriminator.classify.parameters():
            parameter.data.zero_()  # every image is as likely true as not
        losses, watch = method.step(batch, SETTLED)
        assert watch["passed_images"] == passed
        assert (losses["self_training"] > 0) == passed
        assert losses["disc"].item() == pytest.approx(math.log(2))


def test_where_no_image_passes_the_term_is_0_and_still_a_term(tiny_net: NetConfig, batch: Any) -> None:
    losses = build(S4GAN, tiny_net, threshold=1.0).step(batch, SETTLED).losses
    assert losses["self_training"] == 0
    losses["self_training"].backward()


def test_segmenter_and_discriminator_do_not_train_each_other(tiny_net: NetConfig, batch: Any) -> None:
    method = without_dropout(tiny_net)
    losses = method.step(batch, SETTLED).losses
    assert set(losses) == {"sup", "feature_matching", "self_training", "disc"}
    critics = {name for name, _ in method.named_parameters() if name.startswith("discriminator.")}
    for name, loss in losses.items():
        reached = {key for key, found in gradients(method, loss).items() if found is not None}
        assert reached == critics if name == "disc" else reached and not reached & critics, name


def test_what_lies_outside_of_an_unlabeled_image_is_no_prediction(tiny_net: NetConfig, batch: Any) -> None:
    method = without_dropout(tiny_net, threshold=0.0)
    batch.unlabeled.valid.zero_()
    losses = method.step(batch, SETTLED).losses
    nothing = method.discriminator(torch.zeros(2, 4, 32, 48), batch.unlabeled.images)
    labels = F.one_hot(batch.labeled.labels.clamp(max=4), 5)[..., :4].permute(0, 3, 1, 2).float()
    true = method.discriminator(labels, batch.labeled.images)
    matching = (nothing.features.mean(dim=0) - true.features.mean(dim=0)).abs().mean()
    assert losses["feature_matching"].item() == pytest.approx(0.1 * matching.item(), rel=1e-4)
    assert losses["self_training"] == 0


def test_the_discriminator_learns_to_tell_predictions_from_labels(tiny_net: NetConfig, batch: Any) -> None:
    method = build(S4GAN, tiny_net, weak=OFF)
    method.discriminator.eval()
    optimizer = torch.optim.Adam(critics(method), lr=1e-3)
    totals = []
    for _ in range(10):
        loss = method.step(batch, SETTLED).losses["disc"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.8 * totals[0]


def test_the_classifier_learns_which_classes_an_image_has_and_follows_its_teacher(
    tiny_net: NetConfig, batch: Any
) -> None:
    method = without_dropout(tiny_net, mlmt=True, mlmt_consistency_weight=0.5)
    images, labels = batch.labeled
    losses = method.step(batch, method.now(3, 10)).losses
    logits, teacher = method.classifier(method.net.prepared(images)), method.net.gate.average.network
    each = []
    for image in range(2):
        for label in range(4):
            probability = logits[image, label].sigmoid()
            each.append(-torch.log(probability if (labels[image] == label).any() else 1 - probability).item())
    assert losses["mlmt"].item() == pytest.approx(sum(each) / 8, rel=1e-4)
    found = [key for key, gradient in gradients(method, losses["mlmt_consistency"]).items() if gradient is not None]
    assert found
    assert all(key.startswith("classifier.") for key in found)
    weights = [method.step(batch, method.now(step, 10)).losses["mlmt_consistency"] > 0 for step in (0, 1, 2)]
    assert weights == [False, False, True]

    before = [parameter.clone() for parameter in teacher.parameters()]
    for parameter in method.classifier.parameters():
        parameter.data += 1.0
    method.after_update(method.now(50_000, 100_000))
    for now, was in zip(teacher.parameters(), before, strict=True):
        torch.testing.assert_close(now, was + 0.001, rtol=0, atol=1e-5)


def test_a_class_that_the_classifier_does_not_see_is_no_prediction_but_class_0(tiny_net: NetConfig, batch: Any) -> None:
    method = build(S4GAN, tiny_net, mlmt=True)
    layer, images = method.net.gate.average.network.classify, batch.unlabeled.images
    layer.weight.data.zero_()
    layer.bias.data.copy_(torch.tensor([-9.0, -1.3, -1.5, 9.0]))  # probabilities 0.0001, 0.214, 0.182, 1
    trained = method.net(images).logits
    method.eval()
    logits = method.net(images).logits
    plain = method.net.classify(method.net.features(images), (32, 48))
    assert torch.equal(logits[:, [0, 1, 3]], plain[:, [0, 1, 3]])
    assert not logits.softmax(dim=1)[:, 2].any()
    assert trained.softmax(dim=1)[:, 2].all()
    cells = method.net.cells(images)  # as prediction reads them, and as an exported file computes them
    torch.testing.assert_close(method.net.at_size(cells, (32, 48)), logits)
    torch.testing.assert_close(Core(method.net)(method.net.prepared(images)), cells)


def test_with_mlmt_every_parameter_learns_and_only_the_gate_follows(tiny_net: NetConfig, batch: Any) -> None:
    method = without_dropout(tiny_net, mlmt=True)
    losses = method.step(batch, SETTLED).losses
    found = gradients(method, torch.stack(list(losses.values())).sum())
    assert all(gradient is not None for gradient in found.values())
    grouped = [id(parameter) for group in method.parameter_groups() for parameter in group.parameters]
    assert sorted(grouped) == sorted(id(each) for each in method.parameters() if each.requires_grad)
    fresh = S4GAN.fitted(method.config, method.tools.build_net())
    fresh.load_state_dict(method.net.state_dict())  # as a finished run is loaded
