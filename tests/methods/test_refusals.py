"""Batches and crops that a method cannot use: refused in its first step, not when its run comes to them."""

from typing import Any

import pytest

from contract import build, toy_batch
from fewmask.errors import UserError
from fewmask.methods import ClassBankMethod, ClassMix, ContextConsistency, CutMix, ErrorCorrection, Method
from fewmask.models.build import NetConfig


@pytest.mark.parametrize("kind", [ClassMix, CutMix])
def test_a_method_that_pastes_images_into_each_other_needs_two_of_them(kind: Any) -> None:
    assert kind.needs(kind.Config()).min_unlabeled_batch == 2


def first(method: Method, batch: Any) -> None:
    """Takes the first step of ten."""
    method.step(batch, method.now(0, 10))


def test_cutout_takes_one_unlabeled_image(tiny_net: NetConfig) -> None:
    batch = toy_batch(CutMix)
    alone = batch._replace(unlabeled=type(batch.unlabeled)(*(maps[:1] for maps in batch.unlabeled)))
    first(build(CutMix, tiny_net, mask="cutout"), alone)


def test_the_corrector_sees_the_unlabeled_batch_later(tiny_net: NetConfig) -> None:
    batch = toy_batch(ErrorCorrection)
    alone = batch._replace(unlabeled=type(batch.unlabeled)(*(maps[:1] for maps in batch.unlabeled)))
    method = build(ErrorCorrection, tiny_net, unlabeled_start=0.5)
    with pytest.raises(UserError, match="the corrector pools a whole image"):
        first(method, alone)


def test_windows_are_cut_later(tiny_net: NetConfig) -> None:
    method = build(ContextConsistency, tiny_net, stride=64, warmup_share=0.5)
    with pytest.raises(UserError, match=r"data\.crop: a crop of \d+ pixels has no room for a window"):
        first(method, toy_batch(ContextConsistency))


def test_a_teacher_on_batch_statistics_fills_the_bank_later() -> None:
    options = {"encoder_output_stride": 16, "decoder_channels": 16}
    net = NetConfig(arch="deeplabv3plus", encoder="test_resnet", weights="none", options=options)
    batch = toy_batch(ClassBankMethod)
    one_of_each = batch._replace(num_source=len(batch.labeled.images) - 1)
    method = build(ClassBankMethod, net, mode="released")
    with pytest.raises(UserError, match="no meaning for a batch of one"):
        first(method, one_of_each)
    first(method, batch)
