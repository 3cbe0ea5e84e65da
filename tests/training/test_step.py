"""The one place where a step is taken: accumulation, clipping, autocast and scaled losses."""

from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from contract import OFF, build, toy_batch
from fewmask.data.batch import Batch, Labeled
from fewmask.methods import Method, Now, Step, Supervised
from fewmask.recipe import TrainingConfig
from fewmask.training.trainer import Trainer


def still(net: Any) -> Any:
    """Supervised training whose step draws nothing and whose BatchNorm statistics stand still."""
    method: Method = build(Supervised, net, weak=OFF, class_balance=False).eval()
    return method


def trainer_of(
    method: Method, scaler: GradScaler | None = None, fabric: Fabric | None = None, **training: Any
) -> Trainer:
    """With plain SGD at a rate of 1, so that an update is the gradient."""
    optimizer = torch.optim.SGD(method.parameters(), lr=1.0)
    return Trainer(method, [optimizer], TrainingConfig(**training), fabric, scaler=scaler)


def weights(method: Method) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in method.parameters()]


def update(before: list[Tensor], method: Method) -> Tensor:
    """All that has changed, as one vector."""
    return torch.cat([(was - now).flatten() for was, now in zip(before, weights(method), strict=True)])


def test_gradients_of_several_batches_add_up_to_those_of_one_that_holds_all(tiny_net: Any) -> None:
    batches = [toy_batch(Supervised, seed) for seed in (0, 1)]
    images, labels = (torch.cat(maps) for maps in zip(*(batch.labeled for batch in batches), strict=True))
    one, parts = still(tiny_net), still(tiny_net)
    before = weights(one)
    of_one = trainer_of(one).step(one.now(0, 10), Batch(Labeled(images, labels), None))
    of_parts = trainer_of(parts).step(parts.now(0, 10), *batches)
    torch.testing.assert_close(update(before, parts), update(before, one), rtol=1e-3, atol=1e-6)
    assert update(before, one).norm() > 0.1
    torch.testing.assert_close(of_parts.losses["sup"], of_one.losses["sup"].detach())


def test_gradients_beyond_the_norm_are_scaled_down_together(tiny_net: Any) -> None:
    found = {}
    for largest in (None, 0.01, 1e6):
        method = still(tiny_net)
        before = weights(method)
        trainer_of(method, clip_norm=largest).step(method.now(0, 10), toy_batch(Supervised))
        found[largest] = update(before, method)
    torch.testing.assert_close(found[0.01].norm(), torch.tensor(0.01), rtol=1e-3, atol=0)
    cosine = torch.nn.functional.cosine_similarity(found[0.01], found[None], dim=0)
    assert cosine > 0.999
    assert torch.equal(found[1e6], found[None])


@pytest.mark.parametrize(("precision", "is_on"), [("32-true", False), ("bf16-mixed", True)])
def test_a_step_runs_under_the_autocast_of_the_run(
    tiny_net: Any, precision: Any, is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = Supervised.step

    def step(self: Supervised, batch: Batch, now: Now) -> Step:
        seen.append((torch.is_autocast_enabled("cpu"), batch.labeled.images.dtype, now.progress.dtype))
        return original(self, batch, now)

    monkeypatch.setattr(Supervised, "step", step)
    method = still(tiny_net)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    result = trainer_of(method, fabric=fabric).step(method.now(3, 10), toy_batch(Supervised))
    assert seen == [(is_on, torch.float32, torch.float64)]  # what comes in is left as it is
    assert result.losses["sup"].dtype == torch.float32


@pytest.mark.parametrize("largest", [None, 0.01])
def test_a_scaled_loss_gives_the_same_update(tiny_net: Any, largest: float | None) -> None:
    found = []
    for scaler in (None, GradScaler("cpu", init_scale=2.0**10)):  # a power of two is lost in no rounding
        method = still(tiny_net)
        trainer_of(method, scaler, clip_norm=largest).step(method.now(0, 10), toy_batch(Supervised))
        found.append(weights(method))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_step_that_overflows_is_left_out_and_the_scale_falls(tiny_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    method, scaler = still(tiny_net), GradScaler("cpu", init_scale=2.0**127)
    original = method.step
    monkeypatch.setattr(method, "step", lambda batch, now: Step({"sup": 100 * original(batch, now).losses["sup"]}, {}))
    before = weights(method)
    trainer = trainer_of(method, scaler)
    trainer.step(method.now(0, 10), toy_batch(Supervised))
    assert all(torch.equal(*pair) for pair in zip(before, weights(method), strict=True))
    assert scaler.get_scale() == 2.0**126
    assert trainer.checked({"sup": torch.tensor(torch.inf)}) == {}


def test_updates_come_before_what_a_method_does_after_them(tiny_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    method = still(tiny_net)
    before = weights(method)
    seen: list[bool] = []
    monkeypatch.setattr(method, "after_update", lambda now: seen.append(bool(update(before, method).any())))
    trainer_of(method).step(method.now(0, 10), toy_batch(Supervised))
    assert seen == [True]
