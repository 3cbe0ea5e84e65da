"""The loop: stages, rates, seeds, and what stops it."""

import csv
import math
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.amp.grad_scaler import GradScaler

from contract import build, trainer_of
from fewmask.data.batch import Unlabeled
from fewmask.data.pool import PicturePool
from fewmask.methods import ClassBankMethod, Supervised
from fewmask.models.build import NetConfig
from fewmask.ops.draw import Purpose, seed_at
from fewmask.recipe import Recipe, TrainingConfig, read_recipe
from fewmask.run.checkpoint import latest_checkpoint
from fewmask.run.folder import RunFolder
from fewmask.training.build import build_method
from fewmask.training.optimizers import build_optimizers
from fewmask.training.prepare import prepare_data
from fewmask.training.stopping import Interrupted, stop_flag
from fewmask.training.trainer import stage_lengths
from toy import assert_mistake, command, write_recipe

Capsys = pytest.CaptureFixture[str]


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(1, 1000))
def test_stages_share_all_steps_as_asked(shares: list[float], steps: int) -> None:
    lengths = stage_lengths(shares, steps)
    assert sum(lengths) == steps
    for length, share in zip(lengths, shares, strict=True):
        assert abs(length - steps * share / sum(shares)) <= 1


def test_stage_lengths_of_a_case_worked_out_by_hand() -> None:
    assert stage_lengths([1.0], 7) == [7]
    assert stage_lengths([0.5, 0.25, 0.25], 10) == [5, 3, 2]  # ends at 5, 7.5 and 10; 7.5 rounds to 8
    assert stage_lengths([1, 1, 1], 1) == [0, 1, 0]


@pytest.mark.parametrize(("share", "idle"), [(0.04, "pretrain"), (0.96, "train")])
def test_a_run_too_short_for_a_stage_does_not_begin(
    tmp_path: Path, dataset: Path, capsys: Capsys, share: float, idle: str
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, steps=10)
    settings = ("--pretrain", "label_contrast", "--set", f"pretrain.share={share}")
    answer = command(capsys, "train", recipe, "--out", tmp_path / "run", *settings)
    assert_mistake(answer, "training.steps: 10 steps leave none for the stage", idle, "change the shares")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def recipe(tmp_path: Path, dataset: Path) -> Recipe:
    return read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset))


def test_optimizer_has_every_trainable_parameter_once(recipe: Recipe) -> None:
    method = build_method(recipe, prepare_data(recipe))
    (optimizer,) = build_optimizers(method.parameter_groups(), TrainingConfig())
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in method.parameters() if parameter.requires_grad}
    encoder = {id(parameter) for parameter in method.student.network.encoder.parameters()}
    assert {id(parameter) for parameter in optimizer.param_groups[0]["params"]} == encoder


@pytest.mark.parametrize(
    ("training", "attention_rate", "kind", "rates", "decay"),
    [
        ({}, None, torch.optim.AdamW, [5e-4, 5e-6, 5e-4], 1e-2),
        ({"optimizer": "sgd", "encoder_rate": 0.1}, None, torch.optim.SGD, [1e-3, 1e-2, 1e-2], 5e-4),
        (
            {"learning_rate": 0.2, "encoder_rate": 0.5, "weight_decay": 0.0},
            0.3,
            torch.optim.AdamW,
            [0.1, 0.06, 0.2],
            0.0,
        ),
    ],
)
def test_optimizer_follows_the_recipe(
    training: dict[str, Any],
    attention_rate: float | None,
    kind: type,
    rates: list[float],
    decay: float,
    recipe: Recipe,
) -> None:
    changed = recipe.model_copy(
        update={
            "training": TrainingConfig(**training),
            "method": recipe.method.model_copy(update={"attention_rate": attention_rate}),
        }
    )
    method = build_method(changed, prepare_data(changed))
    (optimizer,) = build_optimizers(method.parameter_groups(), changed.training)
    assert isinstance(optimizer, kind)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates)
    assert all(group["weight_decay"] == decay for group in optimizer.param_groups)


def test_the_selectors_are_a_group_of_their_own(recipe: Recipe) -> None:
    method = build_method(recipe, prepare_data(recipe))
    assert isinstance(method, ClassBankMethod)
    (optimizer,) = build_optimizers(method.parameter_groups(), TrainingConfig())
    selectors = {
        *method.learner.heads.prediction_selectors.parameters(),
        *method.learner.heads.bank_selectors.parameters(),
    }
    assert set(optimizer.param_groups[1]["params"]) == selectors


def test_equal_recipes_start_from_equal_weights_and_seeds_differ(recipe: Recipe) -> None:
    data = prepare_data(recipe)
    other = recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": 1})})
    first, again, different = (build_method(each, data).state_dict() for each in (recipe, recipe, other))
    assert all(torch.equal(first[name], again[name]) for name in first)
    classifier = "learner.net.network.segmentation_head.0.weight"
    assert not torch.equal(first[classifier], different[classifier])


def train(capsys: Capsys, tmp_path: Path, data: Path, name: str, *settings: str) -> Path:
    recipe = write_recipe(tmp_path / "recipe.yaml", data, "supervised", log_every=1)
    flags = [word for setting in settings for word in ("--set", setting)]
    answer = command(capsys, "train", recipe, "--out", tmp_path / name, *flags)
    assert answer.code == 0, answer.err
    return tmp_path / name


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "student.safetensors")


def test_learning_rate_falls_by_the_poly_schedule(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    run = train(capsys, tmp_path, dataset, "run", "training.learning_rate=0.01", "training.poly_power=0.5")
    with (run / "metrics.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.01 * (1 - step / 4) ** 0.5 for step in range(4)], rel=1e-4)


def test_learning_rate_of_the_fine_tuning_starts_at_its_share(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    settings = ("training.learning_rate=0.01", "training.poly_power=0.5", "pretrain={share: 0.5, finetune_rate: 0.1}")
    run = train(capsys, tmp_path, dataset, "run", *settings)
    with (run / "metrics.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.01, 0.01 * 0.5**0.5, 0.001, 0.001 * 0.5**0.5], rel=1e-4)


def test_a_stage_draws_anew_and_starts_without_momenta(
    tmp_path: Path, dataset: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[tuple[int, ...]] = []

    def noted(*place: int) -> int:
        places.append(place)
        return seed_at(Purpose(place[0]), *place[1:])

    monkeypatch.setattr("fewmask.training.trainer.seed_at", noted)
    run = train(capsys, tmp_path, dataset, "run", "training.seed=3", "pretrain={share: 0.5}")
    assert places == [(Purpose.STEP, 3, stage, step, 0) for stage in (0, 1) for step in (0, 1)]
    checkpoint = latest_checkpoint(RunFolder(run))
    assert checkpoint is not None
    (optimizer,) = torch.load(checkpoint / "training.pt", weights_only=True)["optimizers"]
    assert {int(state["step"]) for state in optimizer["state"].values()} == {2}


def test_the_teacher_follows_what_the_step_has_made_of_the_student(
    tmp_path: Path, dataset: Path, capsys: Capsys
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "classmix", steps=1)
    assert command(capsys, "train", recipe, "--out", tmp_path / "run").code == 0
    teacher = load_file(tmp_path / "run" / "teacher.safetensors")
    for name, tensor in weights(tmp_path / "run").items():  # after one step, the average is of this one
        assert torch.equal(teacher[name], tensor) or not tensor.is_floating_point(), name


def test_encoder_that_does_not_learn_stays_as_it_started(
    tmp_path: Path, dataset: Path, capsys: Capsys, recipe: Recipe
) -> None:
    trained = weights(train(capsys, tmp_path, dataset, "run", "training.encoder_rate=0"))
    start = read_recipe(tmp_path / "run" / "recipe.yaml")
    before = build_method(start, prepare_data(start)).student
    moved = {name for name, parameter in before.named_parameters() if not torch.equal(trained[name], parameter)}
    assert moved
    assert not [name for name in moved if name.startswith("network.encoder.")]


def test_workers_and_cache_change_nothing_in_the_result(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    runs = [
        train(capsys, tmp_path, dataset, name, *settings)
        for name, settings in {
            "alone": ["data.cache=false", "data.workers=0"],
            "worker": ["data.cache=false", "data.workers=1"],
            "cached": ["data.cache=true"],
        }.items()
    ]
    first, *others = ((run / "student.safetensors").read_bytes() for run in runs)
    assert [other == first for other in others] == [True, True]


def test_seed_changes_the_result(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    runs = [train(capsys, tmp_path, dataset, name, f"training.seed={name}") for name in ("3", "4")]
    assert (runs[0] / "student.safetensors").read_bytes() != (runs[1] / "student.safetensors").read_bytes()


def test_run_folder_holds_the_complete_recipe(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    run = train(capsys, tmp_path, dataset, "run", "training.seed=3")
    blocks = yaml.safe_load((run / "recipe.yaml").read_text())
    assert blocks["training"]["seed"] == 3
    assert blocks["training"]["optimizer"] == "adamw"  # a default, written out
    assert (run / "labeled.txt").read_text().split() == ["train0", "train1", "train2", "train3"]


def test_loss_that_is_no_number_stops_the_run_in_one_line(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised", steps=30, log_every=5, learning_rate=1e30)
    answer = command(capsys, "train", recipe, "--out", tmp_path / "run")
    assert answer.code == 2
    assert re.fullmatch(
        r"fewmask: .*/run: the loss term sup is no longer a finite number at step \d+\. "
        r"Lower training\.learning_rate, or try --set training\.precision=32\.\n",
        answer.err,
    )
    assert not (tmp_path / "run" / "student.safetensors").exists()


def test_a_scaled_loss_that_fits_no_scale_is_no_longer_left_out(tiny_net: NetConfig) -> None:
    trainer = trainer_of(build(Supervised, tiny_net))
    losses = {"sup": torch.tensor(math.nan)}
    assert trainer.checked(losses) == losses
    trainer.scaler = GradScaler("cpu")
    assert trainer.checked(losses) == {}
    trainer.scaler = GradScaler("cpu", init_scale=0.5)
    assert trainer.checked(losses) == losses


def test_weights_that_are_no_numbers_do_not_replace_a_good_checkpoint(
    tmp_path: Path, dataset: Path, capsys: Capsys
) -> None:
    often = {"steps": 30, "log_every": 100, "checkpoint_every": 1}
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "supervised", **often, learning_rate=1e30)
    answer = command(capsys, "train", recipe, "--out", tmp_path / "run")
    assert_mistake(answer, "no longer a finite number at step")
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("stage*")
    weights = load_file(checkpoint / "method.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", STOPPING)
def test_first_signal_is_noted_and_the_second_ctrl_c_stops_at_once(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in STOPPING]
    if before[2] == signal.SIG_IGN and number == signal.SIGHUP:
        pytest.skip("these tests run under nohup")
    with stop_flag() as stopped:
        assert not stopped()
        os.kill(os.getpid(), number)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(each) for each in STOPPING] == before


def test_a_hanging_step_is_ended_by_a_later_signal_but_not_by_a_double_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with stop_flag() as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped()
        monkeypatch.setattr("fewmask.training.stopping._PATIENCE", -1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_closed_terminal_does_not_stop_what_runs_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_flag() as stopped:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopped()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_script_that_catches_exceptions_does_not_swallow_ctrl_c() -> None:
    assert issubclass(Interrupted, KeyboardInterrupt)
    assert not issubclass(Interrupted, Exception)


def test_ctrl_c_ends_a_walk_through_the_pool_and_the_run_goes_on_as_the_unbroken_one(
    tmp_path: Path, dataset: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "cbc", steps=12)
    assert command(capsys, "train", recipe, "--out", tmp_path / "unbroken").code == 0
    seen = []

    class Interrupting(PicturePool):
        def __iter__(self) -> Iterator[Unlabeled]:
            for images in super().__iter__():
                seen.append(images)
                os.kill(os.getpid(), signal.SIGINT)
                yield images

    with monkeypatch.context() as patched:
        patched.setattr("fewmask.training.trainer.PicturePool", Interrupting)
        answer = command(capsys, "train", recipe, "--out", tmp_path / "run")
    assert (answer.code, len(seen)) == (130, 1)
    assert "Go on with: fewmask train --resume" in answer.out
    assert command(capsys, "train", "--resume", tmp_path / "run").code == 0
    for name, tensor in weights(tmp_path / "unbroken").items():
        assert torch.equal(weights(tmp_path / "run")[name], tensor), name
