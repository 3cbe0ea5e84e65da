"""Class means per image: a case worked out by hand, a slow plain twin, and images without a class."""

import torch

from fewmask.ops.class_means import class_means, class_sums
from fewmask.shapes import IGNORE
from grad_of import grad_of


def test_a_case_worked_out_by_hand() -> None:
    features = torch.tensor([[[[1.0, 3.0, 7.0, 100.0]], [[0.0, 2.0, 5.0, 100.0]]]])
    means, occurs = class_means(features, torch.tensor([[[0, 0, 2, IGNORE]]]), 3)
    assert means.tolist() == [[[2.0, 1.0], [0.0, 0.0], [7.0, 5.0]]]
    assert occurs.tolist() == [[True, False, True]]


def test_a_slow_plain_twin_gives_the_same() -> None:
    features = torch.randn(3, 5, 6, 7, dtype=torch.float64)
    labels = torch.randint(0, 5, (3, 6, 7))
    labels[labels == 4] = IGNORE
    labels[1][labels[1] == 2] = 0
    means, occurs = class_means(features, labels, 4)
    for image in range(3):
        for label in range(4):
            pixels = features[image][:, labels[image] == label]
            assert occurs[image, label] == (pixels.numel() > 0)
            expected = pixels.mean(dim=1) if pixels.numel() else torch.zeros(5, dtype=torch.float64)
            torch.testing.assert_close(means[image, label], expected)
    assert not occurs[1, 2]


def test_without_labels_means_and_gradients_are_zero() -> None:
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    means, occurs = class_means(features, torch.full((2, 4, 4), IGNORE), 5)
    means.sum().backward()
    assert not occurs.any()
    assert not means.any()
    assert not grad_of(features).any()


def test_half_precision_is_summed_in_float32() -> None:
    features = torch.full((1, 1, 64, 64), 0.1, dtype=torch.bfloat16)
    means, _ = class_means(features, torch.zeros(1, 64, 64, dtype=torch.int64), 1)
    torch.testing.assert_close(means, torch.full((1, 1, 1), features.float()[0, 0, 0, 0].item()))


def test_autocast_rounds_nothing() -> None:
    features, labels = torch.randn(2, 5, 8, 8), torch.randint(0, 3, (2, 8, 8))
    expected, _ = class_means(features, labels, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(class_means(features, labels, 3)[0], expected)


def test_sums_over_rows_do_not_overflow_under_half_precision() -> None:
    rows = torch.full((3, 2), 60_000.0)
    member = torch.tensor([[True, False], [True, False], [False, False]])
    with torch.autocast("cpu", torch.float16):
        sums = class_sums(rows, member)
    assert sums.tolist() == [[120_000.0, 120_000.0], [0.0, 0.0]]
