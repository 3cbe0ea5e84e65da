"""Heads and selectors against one plain PyTorch module per class."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fewmask.models.contrast_heads import ContrastHeads
from fewmask.models.heads import ClassSelectors, GroupedBatchNorm, PixelHead
from fewmask.ops.groups import membership
from fewmask.shapes import IGNORE
from grad_of import grad_of
from rounding import error_share, tolerance

K, DIM = 3, 8


def random_rows(num_rows: int = 50, num_classes: int = K) -> tuple[Tensor, Tensor]:
    """Rows away from zero, their classes, some of them none."""
    classes = torch.randint(0, num_classes + 1, (num_rows,))
    return 2 + 3 * torch.randn(num_rows, DIM), classes.masked_fill(classes == num_classes, IGNORE)


def plain_norms(norm: GroupedBatchNorm) -> list[nn.BatchNorm1d]:
    """An nn.BatchNorm1d per group with the weights and statistics of `norm`."""
    plain = [nn.BatchNorm1d(DIM).train(norm.training) for _ in range(len(norm.weight))]
    for group, layer in enumerate(plain):
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(layer, name).data.copy_(getattr(norm, name)[group])
    return plain


def plain_selector(selectors: ClassSelectors, label: int) -> nn.Sequential:
    """The module of one class as the paper writes it."""
    hidden, out = nn.Linear(DIM, DIM), nn.Linear(DIM, 1)
    hidden.weight.data.copy_(selectors.hidden_weight[label])
    hidden.bias.data.copy_(selectors.hidden_bias[label])
    out.weight.data.copy_(selectors.out_weight[label])
    out.bias.data.copy_(selectors.out_bias[label])
    norm = plain_norms(selectors.norm)[label]
    return nn.Sequential(hidden, norm, nn.LeakyReLU(0.2), out, nn.Sigmoid()).train(selectors.training)


def assert_close(*tensors: Tensor) -> None:
    torch.testing.assert_close(*tensors, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_grouped_batch_norm_equals_one_batch_norm_per_group(training: bool) -> None:
    norm = GroupedBatchNorm(K, DIM)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.copy_(0.5 + torch.rand(K, DIM))
    norm.train(training)
    plain = plain_norms(norm)
    for _ in range(3):  # so that the running statistics follow more than one batch
        rows, classes = random_rows()
        rows.requires_grad_()
        direction = torch.randn(len(rows), DIM)
        found = norm(rows, membership(classes, K))
        gradient, *weight_gradients = torch.autograd.grad(found, (rows, norm.weight, norm.bias), direction)
        assert (found[classes == IGNORE] == 0).all()
        assert (gradient[classes == IGNORE] == 0).all()
        for group, layer in enumerate(plain):
            own = classes == group
            expected = layer(rows[own])
            plain_gradient, *plain_weight_gradients = torch.autograd.grad(
                expected, (rows, layer.weight, layer.bias), direction[own]
            )
            assert_close(found[own], expected)
            assert_close(gradient[own], plain_gradient[own])
            for found_gradient, expected_gradient in zip(weight_gradients, plain_weight_gradients, strict=True):
                assert_close(found_gradient[group], expected_gradient)
            assert_close(norm.running_mean[group], layer.get_buffer("running_mean"))
            assert_close(norm.running_var[group], layer.get_buffer("running_var"))


def test_a_group_of_one_row_becomes_beta_and_keeps_its_statistics_as_an_empty_one_does() -> None:
    norm = GroupedBatchNorm(2, DIM)
    norm.bias.data.fill_(0.25)
    rows = torch.randn(1, DIM, requires_grad=True)
    found = norm(rows, torch.tensor([[1.0, 0.0]]))
    found.sum().backward()
    assert_close(found, torch.full((1, DIM), 0.25))
    assert grad_of(rows).isfinite().all()
    assert torch.equal(norm.running_mean, torch.zeros(2, DIM))
    assert torch.equal(norm.running_var, torch.ones(2, DIM))


def test_batch_norm_is_computed_in_float32_under_autocast() -> None:
    exact, autocast = GroupedBatchNorm(K, DIM), GroupedBatchNorm(K, DIM)
    rows, classes = random_rows()
    member = membership(classes, K)
    expected = exact(rows, member)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(autocast(rows, member), expected)
        assert autocast(rows.bfloat16(), member).dtype == torch.bfloat16
    one_step = GroupedBatchNorm(K, DIM)
    with torch.autocast("cpu", torch.bfloat16):
        one_step(rows, member)
    assert torch.equal(one_step.running_var, exact.running_var)


@pytest.mark.parametrize("training", [True, False])
def test_selectors_equal_one_module_per_class(training: bool) -> None:
    selectors = ClassSelectors(K, DIM)
    selectors.norm.running_mean.copy_(torch.randn(K, DIM))
    selectors.train(training)
    plain = [plain_selector(selectors, label) for label in range(K)]
    rows, classes = random_rows()
    rows.requires_grad_()
    direction = torch.randn(len(rows))
    scores = selectors(rows, classes)
    scores.backward(direction)
    assert (scores[classes == IGNORE] == 0).all()
    assert (grad_of(rows)[classes == IGNORE] == 0).all()
    for label, module in enumerate(plain):
        own = classes == label
        own_rows = rows.detach()[own].requires_grad_()
        expected = module(own_rows).flatten()
        expected.backward(direction[own])
        layers: Any = module
        hidden, norm, _, out, _ = layers
        assert_close(scores[own], expected)
        assert_close(grad_of(rows)[own], grad_of(own_rows))
        assert_close(grad_of(selectors.hidden_weight)[label], grad_of(hidden.weight))
        assert_close(grad_of(selectors.hidden_bias)[label], grad_of(hidden.bias))
        assert_close(grad_of(selectors.norm.weight)[label], grad_of(norm.weight))
        assert_close(grad_of(selectors.norm.bias)[label], grad_of(norm.bias))
        assert_close(grad_of(selectors.out_weight)[label], grad_of(out.weight)[0])
        assert_close(grad_of(selectors.out_bias)[label], grad_of(out.bias)[0])
        assert_close(selectors.norm.running_mean[label], norm.running_mean)
        assert_close(selectors.norm.running_var[label], norm.running_var)


@pytest.mark.parametrize("training", [True, False])
def test_selectors_of_slots_equal_those_of_the_same_rows_one_by_one(training: bool) -> None:
    selectors = ClassSelectors(K, DIM).train(training)
    other = copy.deepcopy(selectors)
    slots = torch.randn(K, 6, DIM, requires_grad=True)
    filled = torch.tensor([6, 3, 0, *[2] * (K - 3)])[:, None]
    classes = torch.where(torch.arange(6) < filled, torch.arange(K)[:, None], K)
    scores, expected = selectors.of_slots(slots, classes), other(slots.flatten(0, 1), classes.flatten())
    assert_close(scores.flatten(), expected)
    direction = torch.randn(K, 6)
    (scores * direction).sum().backward()
    (expected * direction.flatten()).sum().backward()
    for parameter, same in zip(selectors.parameters(), other.parameters(), strict=True):
        assert_close(grad_of(parameter), grad_of(same))
    for buffer, other_buffer in zip(selectors.buffers(), other.buffers(), strict=True):
        assert_close(buffer, other_buffer)


@pytest.mark.parametrize("labels", [[IGNORE] * 4, [K] * 4, [1], [IGNORE], []])
def test_selectors_take_ignored_rows_one_row_and_none(labels: list[int]) -> None:
    classes = torch.tensor(labels, dtype=torch.int64)
    rows = torch.randn(len(classes), DIM, requires_grad=True)
    scores = ClassSelectors(K, DIM)(rows, classes)
    scores.sum().backward()
    assert ((scores > 0) == (classes < K)).all()
    assert (scores < 1).all()
    assert grad_of(rows).isfinite().all()


def test_selectors_work_in_bfloat16_and_answer_in_float32() -> None:
    selectors = ClassSelectors(K, DIM).eval()
    rows, classes = random_rows()
    with torch.autocast("cpu", torch.bfloat16):
        scores = selectors(rows, classes)
    assert scores.dtype == torch.float32
    known = classes != IGNORE
    exact = selectors(rows, classes)[known].logit()
    assert error_share(scores[known].logit(), exact) < 2**0.5 * tolerance(DIM)  # of two linear layers


def test_pixel_head_equals_linear_norm_relu_linear_over_the_known_rows() -> None:
    head = PixelHead(DIM, 16)
    plain = nn.Sequential(nn.Linear(DIM, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))
    plain[0].load_state_dict(head.hidden.state_dict())
    plain[3].load_state_dict(head.out.state_dict())
    rows, classes = random_rows()
    known = classes != IGNORE
    for training in (True, False):
        head.train(training)
        plain.train(training)
        assert_close(head(rows, classes, K)[known], plain(rows[known]))
        assert_close(head.norm.running_var[0], plain.get_buffer("1.running_var"))


def test_contrast_heads_map_features_to_scores_of_both_sides() -> None:
    heads = ContrastHeads(K, feature_dim=5, dim=DIM)
    classes = torch.tensor([0, 1, 2, 2, IGNORE])
    projections = heads.projector(torch.randn(5, 5), classes, K)
    predictions = heads.predictor(projections, classes, K)
    assert projections.shape == predictions.shape == (5, DIM)
    assert heads.prediction_selectors(predictions, classes).shape == heads.bank_selectors(projections, classes).shape
    assert heads.prediction_selectors is not heads.bank_selectors
