"""Cluster centers that follow a bank."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.models.clusters import ClassClusters

K, SLOTS, DIM = 2, 12, 8


def bunches(num_bunches: int, slots: int = SLOTS) -> tuple[Tensor, Tensor]:
    """Rows of any length near one axis each, by turns, and the axis of every row."""
    axis = torch.arange(slots) % num_bunches
    rows = F.one_hot(axis, DIM) + 0.05 * torch.randn(K, slots, DIM)
    return rows * (1 + 3 * torch.rand(K, slots, 1)), axis.expand(K, slots)


def same_partition(found: Tensor, expected: Tensor) -> bool:
    return bool(((found[:, None] == found[None]) == (expected[:, None] == expected[None])).all())


@pytest.mark.parametrize("num_clusters", [1, 2, 3])
def test_separate_bunches_become_clusters(num_clusters: int) -> None:
    clusters = ClassClusters(K, num_clusters, DIM)
    rows, axis = bunches(num_clusters)
    for _ in range(6):
        found = clusters.assign(rows, torch.ones(K, SLOTS, dtype=torch.bool))
    for label in range(K):
        assert same_partition(found[label], axis[label])
    torch.testing.assert_close(clusters.centers.norm(dim=2), torch.ones(K, num_clusters))


def test_a_center_is_the_direction_of_the_mean_of_its_unit_rows() -> None:
    clusters = ClassClusters(K, 1, DIM)
    rows, _ = bunches(3)
    in_use = torch.arange(SLOTS) < torch.tensor([[SLOTS], [5]])
    for _ in range(2):  # the first step has no center yet, and takes a row
        clusters.assign(rows, in_use)
    for label, used in enumerate((SLOTS, 5)):
        mean = F.normalize(rows[label, :used], dim=1).mean(0)
        torch.testing.assert_close(clusters.centers[label, 0], mean / mean.norm())


def test_rows_that_move_take_their_centers_along() -> None:
    clusters = ClassClusters(K, 2, DIM)
    rows, axis = bunches(2)
    everything = torch.ones(K, SLOTS, dtype=torch.bool)
    for _ in range(4):
        clusters.assign(rows, everything)
    for _ in range(4):
        found = clusters.assign(rows.roll(3, dims=2), everything)
    assert same_partition(found[0], axis[0])


def test_where_rows_are_fewer_than_clusters_each_has_its_own() -> None:
    clusters = ClassClusters(K, 4, DIM)
    rows, _ = bunches(2)
    in_use = torch.arange(SLOTS) < torch.tensor([[2], [0]])
    for _ in range(3):
        found = clusters.assign(rows, in_use)
    torch.testing.assert_close(clusters.centers[0, found[0, :2]], F.normalize(rows[0, :2], dim=1))
    assert (clusters.centers[1] == 0).all()
