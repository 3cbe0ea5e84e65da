"""Checkpoints are whole or absent, and give back what they were given."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fewmask.errors import UserError
from fewmask.methods import Group
from fewmask.recipe import TrainingConfig, make_recipe
from fewmask.run.atomic import write_text
from fewmask.run.checkpoint import (
    Position,
    cannot_write,
    check_recipe,
    latest_checkpoint,
    load_checkpoint,
    load_state,
    save_checkpoint,
    state_bytes,
)
from fewmask.run.folder import RunFolder
from fewmask.training.optimizers import build_optimizers, set_rates
from toy import short_files

RECIPE = make_recipe({"data": {"root": "toy"}, "method": "class_bank"})


class Trained:
    """A layer with a buffer, some steps into its training by two optimizers with momenta."""

    def __init__(self, steps: int) -> None:
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(20, 40), nn.BatchNorm1d(40))
        linear, norm = self.layers
        self.optimizers = [torch.optim.AdamW(linear.parameters(), lr=0.1), torch.optim.Adam(norm.parameters(), lr=0.2)]
        self.train(steps)

    def train(self, steps: int) -> None:
        for step in range(steps):
            inputs = torch.randn(8, 20, generator=torch.Generator().manual_seed(step))
            self.layers.zero_grad()
            (self.layers(inputs) - 1).square().mean().backward()
            for optimizer in self.optimizers:
                optimizer.step()

    def save(self, run: RunFolder, position: Position) -> Path:
        return save_checkpoint(run, self.layers, self.optimizers, position, RECIPE)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def test_training_goes_on_from_a_checkpoint_as_without_it(run: RunFolder) -> None:
    unbroken = Trained(5)
    path = unbroken.save(run, Position(0, 5))
    resumed = Trained(1)
    assert load_checkpoint(path, resumed.layers, resumed.optimizers) == Position(0, 5)
    for trained in (unbroken, resumed):
        trained.train(3)
    for name, tensor in unbroken.layers.state_dict().items():
        assert torch.equal(resumed.layers.state_dict()[name], tensor), name


@pytest.mark.parametrize("captures", [False, True])
def test_optimizers_keep_the_form_of_their_own_device(captures: bool, run: RunFolder) -> None:
    def trained(captured: bool) -> tuple[nn.Linear, list[torch.optim.Optimizer]]:
        layer, device = nn.Linear(3, 2), torch.device("cpu") if captured else None
        weight, bias = layer.parameters()
        groups = [Group("encoder", [weight]), Group("new", [bias])]
        optimizers = build_optimizers(groups, TrainingConfig(optimizer="sgd"), device)
        set_rates(optimizers, 0.5)
        layer(torch.ones(1, 3)).sum().backward()
        optimizers[0].step()
        return layer, optimizers

    layer, optimizers = trained(not captures)
    path = save_checkpoint(run, layer, optimizers, Position(0, 1), RECIPE)
    other, own = trained(captures)
    load_checkpoint(path, other, own)
    for group in own[0].param_groups:
        assert (isinstance(group["lr"], torch.Tensor), bool(group["fused"])) == (captures, captures)
    assert set_rates(own, 0.25) == pytest.approx(0.0025)
    assert [float(group["lr"]) for group in own[0].param_groups] == pytest.approx([0.0025] * 2)
    for mine, theirs in zip(own[0].state.values(), optimizers[0].state.values(), strict=True):
        assert torch.equal(mine["momentum_buffer"], theirs["momentum_buffer"])


def test_only_the_newest_checkpoint_is_kept(run: RunFolder) -> None:
    assert latest_checkpoint(run) is None
    for position in (Position(0, 900), Position(2, 5), Position(10, 0)):  # stage 10 sorts before stage 2 as text
        assert Trained(1).save(run, position) == latest_checkpoint(run)
        assert len(list(run.checkpoints.iterdir())) == 1


def test_half_a_checkpoint_does_not_count(run: RunFolder) -> None:
    path = Trained(1).save(run, Position(0, 5))
    half = run.checkpoints / ".stage0-step00000009.part"
    half.mkdir()
    (half / "method.safetensors").write_bytes(b"half")
    assert latest_checkpoint(run) == path
    assert Trained(2).save(run, Position(0, 9)) == latest_checkpoint(run)
    assert not half.exists()


@pytest.mark.parametrize("longest", [100, 6000])  # less than the weights, less than the optimizer's state
def test_full_disk_keeps_the_last_checkpoint_and_says_so(run: RunFolder, longest: int) -> None:
    path = Trained(1).save(run, Position(0, 5))
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    assert len(before["method.safetensors"]) < 6000 < len(before["training.pt"])
    with short_files(longest), pytest.raises(UserError) as caught:
        Trained(2).save(run, Position(0, 9))
    assert str(caught.value) == (
        f"{run.path}: a checkpoint could not be written (File too large); the last checkpoint, "
        f"stage0-step00000005, is intact. Free some space, then: fewmask train --resume {run.path}"
    )
    assert [path] == list(run.checkpoints.iterdir())
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with short_files(100), pytest.raises(OSError, match="File too large"):
        write_text(tmp_path / "file", "new" * 100)
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_recipe_must_be_that_of_the_checkpoint(run: RunFolder) -> None:
    other = make_recipe({"data": {"root": "toy"}, "method": "class_bank"}, {"training.seed": 4})
    check_recipe(run, other)  # nothing trained yet
    Trained(1).save(run, Position(0, 5))
    check_recipe(run, RECIPE)
    check_recipe(run, make_recipe({"data": {"root": "moved"}, "method": "class_bank"}, {"training.log_every": 1}))
    with pytest.raises(UserError, match=r"training.seed is 4, but the run was started with 0. Set it back"):
        check_recipe(run, other)


def test_a_checkpoint_of_another_version_is_one_line(run: RunFolder) -> None:
    trained = Trained(1)
    path = trained.save(run, Position(0, 5))
    regrouped = [torch.optim.AdamW([{"params": [p]} for p in trained.layers.parameters()]), trained.optimizers[1]]
    with pytest.raises(UserError, match="of another version of fewmask"):
        load_checkpoint(path, trained.layers, regrouped)
    torch.save({"optimizer": {}, "position": (0, 5)}, path / "training.pt")
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(path, trained.layers, trained.optimizers)


def test_state_goes_to_a_file_and_back(tmp_path: Path) -> None:
    trained, other = Trained(3), Trained(0)
    (tmp_path / "state").write_bytes(state_bytes(trained.layers))
    load_state(tmp_path / "state", other.layers)
    for name, tensor in trained.layers.state_dict().items():
        assert torch.equal(other.layers.state_dict()[name], tensor), name


def test_state_that_does_not_fit_or_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with pytest.raises(UserError, match="cannot be read"):
        load_state(path, nn.Linear(2, 2))
    path.write_bytes(state_bytes(nn.Linear(2, 3)))
    with pytest.raises(UserError, match="do not fit the network of the recipe"):
        load_state(path, nn.Linear(2, 2))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="cannot be read"):
        load_state(path, nn.Linear(2, 3))


def other_shape(training: Any) -> None:
    training["optimizers"][0]["state"][0]["exp_avg"] = torch.zeros(3)


def lying_layout(training: Any) -> None:  # of the right shape, but of one number in memory
    training["optimizers"][0]["state"][0]["exp_avg"] = torch.zeros(1).expand(40, 20)


def no_step(training: Any) -> None:
    del training["optimizers"][0]["state"][0]["step"]


def step_of_a_row(training: Any) -> None:
    training["optimizers"][1]["state"][0]["step"] = torch.ones(5)


def moments_of_integers(training: Any) -> None:
    training["optimizers"][0]["state"][0]["exp_avg"] = torch.zeros(40, 20, dtype=torch.int64)


def moments_as_text(training: Any) -> None:
    training["optimizers"][0]["state"] = "text"


def more_parameters(training: Any) -> None:
    training["optimizers"][0]["state"][7] = training["optimizers"][0]["state"][0]


def rate_as_text(training: Any) -> None:
    for group in training["optimizers"][0]["param_groups"]:
        group["lr"] = group["initial_lr"] = group["betas"] = "fast"


def position_as_text(training: Any) -> None:
    training["position"] = ("first", "last")


def position_below_zero(training: Any) -> None:
    training["position"] = (0, -1)


def one_optimizer_less(training: Any) -> None:
    training["optimizers"].pop()


def nothing(training: Any) -> None:
    training.clear()


GOES_ON = (lying_layout, rate_as_text)


@pytest.mark.parametrize(
    "spoil",
    [
        *(other_shape, lying_layout, no_step, step_of_a_row, moments_of_integers, moments_as_text, more_parameters),
        *(rate_as_text, position_as_text, position_below_zero, one_optimizer_less, nothing),
    ],
)
def test_a_state_of_another_form_is_one_line_and_is_never_given_to_an_optimizer(spoil: Any, run: RunFolder) -> None:
    trained = Trained(2)
    path = trained.save(run, Position(0, 2))
    training = torch.load(path / "training.pt", weights_only=True)
    spoil(training)
    torch.save(training, path / "training.pt")
    with pytest.raises(UserError, match=r"training\.pt: .*its checksum differs"):
        load_checkpoint(path, Trained(0).layers, trained.optimizers)
    (path / "SHA256SUMS").unlink()
    resumed = Trained(0)
    for optimizer in resumed.optimizers:
        for group in optimizer.param_groups:
            group["fused"] = True  # whose kernel trusts the shapes
    if spoil in GOES_ON:  # what is odd is not taken from the file
        load_checkpoint(path, resumed.layers, resumed.optimizers)
        resumed.train(1)
    else:
        with pytest.raises(UserError, match=r"training\.pt: the file cannot be read \(") as caught:
            load_checkpoint(path, resumed.layers, resumed.optimizers)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["method.safetensors", "training.pt"])
def test_a_flipped_bit_in_a_checkpoint_is_found(name: str, run: RunFolder) -> None:
    trained = Trained(2)
    file = trained.save(run, Position(0, 2)) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: .*it is not as it was written: its checksum differs"):
        load_checkpoint(file.parent, trained.layers, trained.optimizers)


def test_a_program_in_a_checkpoint_is_not_run_and_nobody_is_told_to_run_it(run: RunFolder, tmp_path: Path) -> None:
    trained = Trained(1)
    path = trained.save(run, Position(0, 1))
    (path / "SHA256SUMS").unlink()
    torch.save({"optimizers": [], "position": Touching(tmp_path / "ran")}, path / "training.pt")
    with pytest.raises(UserError, match="holds more than tensors") as caught:
        load_checkpoint(path, trained.layers, trained.optimizers)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


class Touching:
    """An object that touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_deleted_run_folder_is_not_called_a_full_disk(run: RunFolder) -> None:
    run.path.rmdir()
    with pytest.raises(
        UserError, match=r"\(No such file or directory\); the run folder is gone\. Put it back, or train"
    ):
        Trained(1).save(run, Position(0, 1))
    assert not run.path.exists()
    run.path.mkdir()
    told = str(cannot_write(run, "the log", PermissionError(errno.EACCES, os.strerror(errno.EACCES))))
    assert "(Permission denied); there is no checkpoint yet. Mend this, then: fewmask train --resume" in told
    assert "Free some space" in str(cannot_write(run, "the log", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
