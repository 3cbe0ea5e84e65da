"""With `pseudo_balance`, class weights reach every loss of pseudo-labels, and come from labels and pseudo-labels."""

from typing import Any

import pytest
import torch

from contract import SETTLED, build, toy_batch
from fewmask.methods import METHODS
from fewmask.models.build import NetConfig
from fewmask.ops.losses import balanced_class_weights

BALANCED: list[Any] = [method for method in METHODS if "pseudo_balance" in method.Config.model_fields]


def test_the_methods_with_sure_pseudo_labels_have_it() -> None:
    names = {method.name for method in BALANCED}
    assert names == {"augseg", "fixmatch", "pixcon", "prevmatch", "unimatch", "unimatch_v2"}
    assert [method.name for method in BALANCED if method.Config().pseudo_balance] == ["augseg"]


@pytest.mark.parametrize("kind", BALANCED)
def test_class_weights_weigh_pseudo_labels_only_with_it(
    kind: Any, tiny_net: NetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for is_on in (False, True):
        thresholds = {"confidence_threshold", "past_threshold"} & kind.Config.model_fields.keys()
        settings: dict[str, Any] = dict.fromkeys(thresholds, 0.0)
        method = build(kind, tiny_net, pseudo_balance=is_on, **settings)
        for slot in range(len(method.past.rows) if hasattr(method, "past") else 0):
            method.past.keep(method.net, torch.tensor(slot))
        monkeypatch.setattr(method.frequency, "weights", lambda: torch.full((4,), 2.0))
        torch.manual_seed(1)
        found[is_on] = method.step(toy_batch(kind), SETTLED).losses
    pseudo = {name for name in found[True] if name in {"pseudo", "feature", "past_pseudo", "past_feature"}}
    assert "pseudo" in pseudo
    for name, loss in found[True].items():
        factor = 2 if name in pseudo else 1
        assert loss.item() == pytest.approx(factor * found[False][name].item(), rel=1e-5), name
        assert name not in pseudo or loss.item() > 0


@pytest.mark.parametrize("kind", BALANCED)
def test_the_weights_count_labels_and_pseudo_labels(kind: Any, tiny_net: NetConfig) -> None:
    method = build(kind, tiny_net, pseudo_balance=True)
    method.frequency.labeled.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    method.frequency.pseudo.copy_(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    shares = torch.tensor([1.0, 2.0, 3.0, 4.0]) / 10, torch.tensor([4.0, 3.0, 2.0, 1.0]) / 10
    expected = balanced_class_weights(4 * shares[0] + 8 * shares[1])  # as many images as build() says
    assert torch.allclose(method.pseudo_weights(), expected)
    unweighted = build(kind, tiny_net, pseudo_balance=True, class_balance=False)
    assert unweighted.pseudo_weights() is None
