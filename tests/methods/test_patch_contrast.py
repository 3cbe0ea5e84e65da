"""Patch-wise contrast: its term against the operators, its pseudo-labels, and the patches that take no part."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from contract import OFF, SETTLED, build, gradients, settled, toy_batch
from fewmask.methods import PatchContrast
from fewmask.models.build import NetConfig
from fewmask.ops.contrast import disparity, info_nce, label_patches
from fewmask.shapes import IGNORE

PLAIN: dict[str, Any] = {"weak": OFF, "class_balance": False}


@pytest.fixture
def batch() -> Any:
    return toy_batch(PatchContrast)


def test_the_term_is_the_contrast_of_source_patches_and_target_patches_in_both_directions(
    tiny_net: NetConfig, batch: Any
) -> None:
    batch.labeled.labels[:, -5:] = IGNORE
    batch.unlabeled.valid[:, :, :20] = False
    method = settled(build(PatchContrast, tiny_net, **PLAIN), toy_batch(PatchContrast, seed=1))
    losses = method.step(batch, SETTLED).losses
    labeled, unlabeled = method.student(batch.labeled.images), method.student(batch.unlabeled.images)
    confidence, pseudo_labels = unlabeled.logits.softmax(dim=1).max(dim=1)
    pseudo_labels[~((confidence > 0.3) & batch.unlabeled.valid)] = IGNORE
    labels = torch.cat([batch.labeled.labels, pseudo_labels])
    features = torch.cat([labeled.features, unlabeled.features])
    grid = (4, 6)
    vectors = method.projector(F.avg_pool2d(features, 8)).permute(0, 2, 3, 1)
    shown = label_patches(labels, grid, 4)
    kept = shown.labeled_share >= 0.5
    assert 0 < kept[4:].sum() < kept[4:].numel()
    source, target = [2, 3], [0, 1, 4, 5]
    one, other = (vectors[side].flatten(1, 2)[kept[side]] for side in (source, target))
    differ = disparity(*(shown.descriptors[side][kept[side]] for side in (source, target)))
    near, far = differ < 0.2, differ > 0.6
    assert near.any(dim=1).any()
    expected = (info_nce(one, other, near, far, 0.07) + info_nce(other, one, near.T, far.T, 0.07)) / 2
    assert set(losses) == {"sup", "patch"}
    assert losses["patch"].item() == pytest.approx(0.1 * expected.item(), rel=1e-3)


def test_a_patch_is_a_quarter_of_the_shorter_side(tiny_net: NetConfig, batch: Any) -> None:
    step = build(PatchContrast, tiny_net, patch_size=None, **PLAIN).step(batch, SETTLED)
    expected = build(PatchContrast, tiny_net, patch_size=8, **PLAIN).step(batch, SETTLED)  # of 32 x 48 pixels
    other = build(PatchContrast, tiny_net, patch_size=16, **PLAIN).step(batch, SETTLED)
    assert step.losses == expected.losses
    torch.testing.assert_close(step.watch, expected.watch, rtol=0, atol=0)
    assert step.losses["patch"] not in (0, other.losses["patch"])
    assert 0 < step.watch["patches_contrasted"] <= step.watch["patches_source"]


def test_images_smaller_than_a_patch_are_one_patch_each(tiny_net: NetConfig, batch: Any) -> None:
    method = build(PatchContrast, tiny_net, patch_size=128, positive_disparity=1.0, **PLAIN)
    features = torch.rand(2, method.net.feature_dim, 32, 48)
    patches = method._patches(features, batch.target.labels)
    assert patches.vectors.shape == (2, 16)
    assert patches.descriptors.shape == (2, 21 * 4)
    assert method.step(batch, SETTLED).losses["patch"].isfinite()


def test_a_patch_has_the_features_of_its_own_pixels_where_the_network_pads_the_image(tiny_net: NetConfig) -> None:
    method = build(PatchContrast, tiny_net, patch_size=8)
    method.projector = nn.Identity()
    labels = torch.randint(0, 2, (2, 36, 52))
    features = F.pad(labels, (0, 4, 0, 4))[:, None].float()  # to a multiple of 8, as the tiny network's are
    vectors, descriptors, _ = method._patches(features, labels)
    shares = 6 * descriptors[:, 1:2]  # of class 1 in the whole patch: a half of a third of the disparity
    inside = (slice(None), slice(4), slice(6))
    torch.testing.assert_close(vectors.view(2, 5, 7)[inside], shares.view(2, 5, 7)[inside])


@pytest.mark.parametrize("empty", ["no positives", "no negatives", "no labels"])
def test_without_pairs_the_term_is_zero_and_its_gradients_are_finite(
    tiny_net: NetConfig, batch: Any, empty: Any
) -> None:
    settings = {"no positives": {"positive_disparity": 0.0}, "no negatives": {"negative_disparity": 1.0}}.get(empty, {})
    if empty == "no labels":
        batch.source.labels.fill_(IGNORE)
    method = build(PatchContrast, tiny_net, **PLAIN | settings)
    losses = method.step(batch, SETTLED).losses
    assert losses["patch"] == 0
    found = [gradient for gradient in gradients(method, losses["patch"]).values() if gradient is not None]
    assert found
    assert not any(gradient.any() for gradient in found)  # which a NaN would be too


def test_a_step_of_the_contrast_draws_alike_patches_together(tiny_net: NetConfig, batch: Any) -> None:
    method = build(PatchContrast, tiny_net, **PLAIN, contrast_weight=1.0)
    optimizer, found = torch.optim.SGD(method.parameters(), lr=0.05), []
    for _ in range(8):
        loss = method.step(batch, SETTLED).losses["patch"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.9 * found[0]
