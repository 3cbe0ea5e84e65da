"""`fewmask train`: data and settings that cannot work are one line, and odd ones that can work do."""

import csv
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fewmask.methods import DEFAULT
from fewmask.recipe import read_recipe
from toy import (
    HEIGHT,
    WIDTH,
    Answer,
    assert_mistake,
    begin_run,
    command,
    draw_scene,
    read,
    save,
    save_lying,
    write_recipe,
)

Capsys = pytest.CaptureFixture[str]
ONE_STEP = ("--set", "training.steps=1")


@pytest.fixture
def data(tmp_path: Path, dataset: Path) -> Path:
    """A dataset to be broken."""
    return Path(shutil.copytree(dataset, tmp_path / "data"))


def train(capsys: Capsys, tmp_path: Path, data: Path, *flags: object) -> Answer:
    recipe = write_recipe(tmp_path / "recipe.yaml", data)
    return command(capsys, "train", recipe, "--out", tmp_path / "run", *flags)


def no_masks(data: Path) -> None:
    shutil.rmtree(data / "train" / "masks")


def no_unlabeled(data: Path) -> None:
    shutil.rmtree(data / "unlabeled")


def mask_of_another_size(data: Path) -> None:
    save(np.zeros((40, 40), np.uint8), data / "train" / "masks" / "train1.png")


def mask_with_value_23(data: Path) -> None:
    save(np.full((HEIGHT, WIDTH), 23, np.uint8), data / "train" / "masks" / "train1.png")


def truncated_png(data: Path) -> None:
    truncate(data / "train" / "images" / "train2.png")


def truncated_jpeg(data: Path) -> None:
    (data / "unlabeled" / "more3.png").unlink()
    save(draw_scene(np.random.default_rng(3))[0], data / "unlabeled" / "more3.jpg")
    truncate(data / "unlabeled" / "more3.jpg")


def all_ignored(data: Path) -> None:
    for mask in (data / "train" / "masks").iterdir():
        save(np.full((HEIGHT, WIDTH), 255, np.uint8), mask)


def two_classes_in_0_and_255(data: Path) -> None:
    (data / "dataset.yaml").write_text("names: [ground, car]\n")
    for mask in data.glob("*/masks/*"):
        save(np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 255, mask)


def broken_val(data: Path) -> None:
    truncate(data / "val" / "images" / "val1.png")


def nothing(data: Path) -> None:
    pass


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("reading", [(), ("--set", "data.cache=false", "--set", "data.workers=1")])
@pytest.mark.parametrize(
    ("spoil", "fragments"),
    [
        (mask_of_another_size, ["train1.png: the mask is 40 x 40 pixels, but its image 64 x 48", "nearest neighbor"]),
        (mask_with_value_23, ["train1.png: the mask holds value 23, but classes are 0-3", "Write `ignore: [23]`"]),
        (truncated_png, ["train2.png: the file cannot be read", "Copy"]),
        (truncated_jpeg, ["more3.jpg: the file cannot be read", "Copy"]),
    ],
)
def test_broken_file_is_one_line_in_whichever_process_it_is_read(
    spoil: Callable[[Path], None], fragments: list[str], reading: list[str], tmp_path: Path, data: Path, capsys: Capsys
) -> None:
    spoil(data)
    assert_mistake(train(capsys, tmp_path, data, *reading), *fragments)


@pytest.mark.parametrize(
    ("spoil", "flags", "fragments"),
    [
        (shutil.rmtree, [], ["data: there is no such folder. Give the folder that holds train/images"]),
        (no_masks, [], ["masks: no train image has a mask", "Put at least one mask there"]),
        (no_unlabeled, [], ["class_bank learns from unlabeled images too", "hide masks with --labels 1/4, or use"]),
        (
            no_unlabeled,
            ["--method", "label_contrast", "--set", "method.pseudo_labels=true"],
            ["label_contrast learns from unlabeled images too", "or leave out method.pseudo_labels"],
        ),
        (all_ignored, [], ["every pixel of every mask is ignored", "correct `ignore`"]),
        (two_classes_in_0_and_255, [], ["no mask holds car", "Write `encoding: binary`"]),
        (broken_val, ["--baseline"], ["val1.png: the file cannot be read"]),
        (broken_val, ["--set", "training.score_every=1"], ["val1.png: the file cannot be read"]),
        (nothing, ["--labels", "99"], ["99 labels are asked for, but 4 train images have masks"]),
        (nothing, ["--labels", "some.txt"], ["'some.txt' is no share, no number and no file"]),
        (nothing, ["--set", "training.steps"], ["--set: 'training.steps' is not a setting", "training.steps=2000"]),
        (nothing, ["--set", "=3"], ["--set: '=3' is not a setting"]),
        (nothing, ["--set", "training.stepps=3"], ["there is no setting training.stepps", "(nearest: steps)"]),
        (nothing, ["--method", "clas_bank"], ["there is no method 'clas_bank'", "(nearest: class_bank)"]),
        (nothing, ["--precision", "fp8"], ["training.precision is 'fp8': it should be 'auto', '32', 'bf16' or '16'"]),
        (nothing, ["--set", "training.device=gpu"], ["there is no device 'gpu'", "auto, cpu, cuda or mps"]),
        (nothing, ["--set", "data.crop=7000"], ["crops are to be 7000 x 7000, but no image is larger than 64 x 48"]),
        (nothing, ["--set", "net.weights=lost.pth"], ["there is no weights file lost.pth"]),
        (nothing, ["--set", "net.encoder=resnet19"], ["encoder 'resnet19' is not known", "resnet18"]),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_makes_no_run(
    spoil: Callable[[Path], None], flags: list[str], fragments: list[str], tmp_path: Path, data: Path, capsys: Capsys
) -> None:
    spoil(data)
    assert_mistake(train(capsys, tmp_path, data, *flags), *fragments)
    assert not (tmp_path / "run").exists()


def test_pretrained_weights_without_network_are_one_line_at_once(
    tmp_path: Path, dataset: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)  # as between retries
    answer = train(capsys, tmp_path, dataset, "--set", "net.weights=imagenet")
    assert_mistake(answer, "net.weights: the pretrained weights of test_resnet are not on this machine", "weights=none")
    assert naps == []


@pytest.mark.parametrize("both_ends", [os.pipe, os.openpty])
def test_training_goes_on_where_its_reader_leaves(
    both_ends: Any, tmp_path: Path, dataset: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = both_ends()
    os.close(reader)
    with os.fdopen(writer, "w") as left:
        monkeypatch.setattr(sys, "stdout", left)
        answer = train(capsys, tmp_path, dataset)
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "run" / "student.safetensors").exists()


def test_commands_to_copy_have_quotes_around_blanks(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    run = tmp_path / "my run"
    answer = command(capsys, "train", write_recipe(tmp_path / "recipe.yaml", dataset), "--out", run, *ONE_STEP)
    assert f"fewmask evaluate '{run}'\n" in answer.out
    assert f"fewmask predict '{run}' IMAGES" in answer.out
    (run / "student.safetensors").unlink()
    assert_mistake(command(capsys, "evaluate", run), f"fewmask train --resume '{run}'")


def test_training_needs_data_and_a_folder_to_go_to(dataset: Path, tmp_path: Path, capsys: Capsys) -> None:
    assert_mistake(command(capsys, "train"), "train: there is nothing to train on")
    assert_mistake(command(capsys, "train", dataset), "--out: the run needs a folder")
    assert_mistake(command(capsys, "train", dataset, "--resume", tmp_path), "--resume: a resumed run keeps its recipe")


def test_folder_in_use_is_left_alone(data: Path, tmp_path: Path, capsys: Capsys) -> None:
    run = tmp_path / "run"
    assert train(capsys, tmp_path, data, *ONE_STEP).code == 0
    recipe = write_recipe(tmp_path / "recipe.yaml", data)
    before = (data / "dataset.yaml").read_text(), (run / "recipe.yaml").read_text()
    assert_mistake(command(capsys, "train", recipe, "--out", run), run, "already holds a run", "It is finished")
    assert_mistake(command(capsys, "train", recipe, "--out", data), data, "holds a dataset", "another --out")
    (run / "student.safetensors").unlink()
    assert_mistake(command(capsys, "train", recipe, "--out", run), "Go on with it: fewmask train --resume", run)
    assert ((data / "dataset.yaml").read_text(), (run / "recipe.yaml").read_text()) == before


def test_run_that_ended_before_it_saved_anything_is_begun_anew(data: Path, tmp_path: Path, capsys: Capsys) -> None:
    broken = data / "unlabeled" / "more3.png"
    content = broken.read_bytes()
    broken.write_bytes(content[:200])
    run = tmp_path / "run"
    assert_mistake(train(capsys, tmp_path, data, *ONE_STEP, "--baseline"), broken)
    (run / "metrics.csv").write_text("of the first try\n")
    (run / "pretrained.safetensors").touch()
    broken.write_bytes(content)
    assert train(capsys, tmp_path, data, *ONE_STEP, "--set", "training.seed=3").code == 0
    assert "seed: 3" in (run / "recipe.yaml").read_text()
    assert "of the first try" not in (run / "metrics.csv").read_text()
    assert not (run / "pretrained.safetensors").exists()
    assert not (run / "baseline").exists()


def test_a_run_that_trains_is_not_begun_anew(
    data: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewmask.run.folder._PATIENCE", 0.1)
    recipe = write_recipe(tmp_path / "recipe.yaml", data)
    run = begin_run(read_recipe(recipe), tmp_path / "run")
    before = run.recipe_file.read_text()
    with run.claimed():
        answer = command(capsys, "train", recipe, "--out", run.path, "--set", "training.seed=3")
    assert_mistake(answer, run.path, "another process is training in this folder")
    assert run.recipe_file.read_text() == before


def test_a_recipe_that_somebody_keeps_in_a_folder_is_left_alone(data: Path, tmp_path: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", data)
    before = recipe.read_text()
    assert_mistake(command(capsys, "train", recipe, "--out", tmp_path), tmp_path, "a recipe.yaml that is of no run")
    assert recipe.read_text() == before


def test_folder_that_cannot_be_made_is_one_line(dataset: Path, tmp_path: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset)
    answer = command(capsys, "train", recipe, "--out", recipe / "run")
    assert_mistake(answer, "cannot write there (Not a directory)", "Choose another --out")


def test_resume_of_no_run_is_one_line(tmp_path: Path, capsys: Capsys) -> None:
    assert_mistake(command(capsys, "train", "--resume", tmp_path), tmp_path, "this is no run folder")


def test_broken_recipe_file_is_one_line(tmp_path: Path, capsys: Capsys) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {root: x\n")
    assert_mistake(command(capsys, "train", recipe, "--out", tmp_path / "run"), recipe, "this is not YAML")


# ---- data and settings that work


def test_a_class_without_labels_is_told(data: Path, tmp_path: Path, capsys: Capsys) -> None:
    answer = train(capsys, tmp_path, data, *ONE_STEP)
    assert "No mask to learn from" not in answer.out + answer.err
    for mask in (data / "train" / "masks").iterdir():
        save(np.eye(HEIGHT, WIDTH, dtype=np.uint8) + 1, mask)
    shutil.rmtree(tmp_path / "run")
    answer = train(capsys, tmp_path, data, *ONE_STEP)
    assert "No mask to learn from holds ground, car" in " ".join((answer.out + answer.err).split())


def mixed_sizes(data: Path) -> None:
    for index, (height, width) in enumerate([(30, 100), (90, 40)]):
        image, labels = draw_scene(np.random.default_rng(index), height, width)
        save(image, data / "train" / "images" / f"train{index}.png")
        save(labels, data / "train" / "masks" / f"train{index}.png")


def every_kind_of_image(data: Path) -> None:
    images = [draw_scene(np.random.default_rng(index))[0] for index in range(5)]
    for path in (data / "unlabeled").iterdir():
        path.unlink()
    save(images[0][..., 0].astype(np.uint16) * 257, data / "unlabeled" / "16bit.png")
    save(images[1][..., 0], data / "unlabeled" / "gray.png")
    Image.fromarray(images[2]).convert("RGBA").save(data / "unlabeled" / "alpha.png")
    Image.fromarray(images[3]).quantize(64).save(data / "unlabeled" / "palette.png")
    save_lying(images[4], data / "unlabeled" / "rotated.jpg")


def two_classes_as_binary(data: Path) -> None:
    (data / "dataset.yaml").write_text("names: [ground, thing]\nencoding: binary\n")
    for mask in data.glob("*/masks/*.png"):
        labels = np.asarray(read(mask))
        save(np.where(labels > 0, 255, 0).astype(np.uint8), mask)


def no_val(data: Path) -> None:
    shutil.rmtree(data / "val")


def one_mask_all_ignored(data: Path) -> None:
    save(np.full((HEIGHT, WIDTH), 255, np.uint8), data / "train" / "masks" / "train0.png")


def a_list_of_two(data: Path) -> None:
    (data / "two.txt").write_text("train1\ntrain3.png\n")


@pytest.mark.parametrize(
    ("prepare", "flags", "summary"),
    [
        (nothing, ["--set", "data.crop=100"], "crops of 100 x 100"),
        (nothing, ["--set", "data.crop=[32, 48]"], "crops of 48 x 32"),
        (nothing, ["--set", "data.resize=0.5"], "crops of 32 x 24"),
        (mixed_sizes, [], "crops of 100 x 90"),
        (every_kind_of_image, [], "4 labeled and 5 unlabeled images"),
        (two_classes_as_binary, [], "2 classes"),
        (no_val, [], "4 labeled"),
        (one_mask_all_ignored, ["--set", "training.labeled_batch=1"], "4 labeled"),
        (nothing, ["--set", "training.labeled_batch=11"], "4 labeled and 6 unlabeled images"),
        (nothing, ["--labels", "3"], "3 labeled and 7 unlabeled images"),
        (no_unlabeled, ["--labels", "1/2", "--split-seed", "1"], "2 labeled and 2 unlabeled images"),
        (a_list_of_two, ["--labels", "{data}/two.txt"], "2 labeled and 8 unlabeled images"),
        (nothing, ["--set", "data.labels=0.5"], "2 labeled and 8 unlabeled images"),
        (nothing, ["--set", "training.precision=32", "--set", "method=supervised"], "supervised: 4 labeled and 0 unl"),
        (nothing, ["--precision", "bf16"], "class_bank: 4 labeled"),
    ],
)
def test_training_copes_with(
    prepare: Callable[[Path], None], flags: list[str], summary: str, tmp_path: Path, data: Path, capsys: Capsys
) -> None:
    prepare(data)
    steps = ("--set", "training.steps=2", "--set", "training.log_every=1")
    answer = train(capsys, tmp_path, data, *steps, *(flag.format(data=data) for flag in flags))
    assert answer.code == 0, answer.err
    assert answer.err == ""
    assert summary in answer.out.splitlines()[0]
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(value) for row in rows for name, value in row.items() if name.startswith("loss/") and value]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)


def test_one_step_is_a_training(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    assert train(capsys, tmp_path, dataset, *ONE_STEP).code == 0
    assert command(capsys, "evaluate", tmp_path / "run").code == 0


def test_folder_trains_without_a_recipe(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    net = ("--set", "net.arch=unet", "--set", "net.encoder=test_resnet", "--set", "net.weights=none")
    shape = ("--set", "net.options.encoder_depth=3", "--set", "net.options.decoder_channels=[32, 16, 8]")
    cpu = ("--set", "training.device=cpu")
    answer = command(capsys, "train", dataset, "--out", tmp_path / "run", *net, *shape, *ONE_STEP, *cpu)
    assert answer.code == 0
    assert answer.out.startswith(
        f"Method {DEFAULT}, the default. --method takes another, and --baseline says what it gives.\nPreset small, "
    )
    assert "Preset small, because the device is a CPU: data.largest_crop=256" in answer.out
    assert f"{DEFAULT}: 4 labeled and 6 unlabeled images" in answer.out
    assert answer.err == ""


def test_baseline_is_trained_beside_and_compared(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    answer = train(capsys, tmp_path, dataset, "--baseline")
    assert answer.code == 0
    assert "what the unlabeled images gave, IoU on val" in answer.out
    assert (tmp_path / "run" / "baseline" / "student.safetensors").exists()


def assert_same_learned(weights: Path, run: Path) -> None:
    """That the run, whose rate is next to nothing, started from these weights."""
    before, after = load_file(weights), load_file(run / "student.safetensors")
    learned = [name for name in before if name.endswith(("weight", "bias"))]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in learned)


def test_pretraining_is_a_stage_of_the_run_and_its_network_a_start_for_others(
    tmp_path: Path, dataset: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ("--set", "training.steps=6", "--set", "training.log_every=1", "--set", "pretrain.dim=16")
    answer = train(capsys, tmp_path, dataset, "--pretrain", "label_contrast", *steps)
    assert answer.code == 0, answer.err
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["loss/contrast"]) for row in rows] == [True, True, False, False, False, False]
    assert [bool(row["loss/sup"]) for row in rows] == [False, False, True, True, True, True]
    assert command(capsys, "evaluate", tmp_path / "run", "--split", "val").code == 0

    halfway, end = (load_file(tmp_path / "run" / f"{which}.safetensors") for which in ("pretrained", "student"))
    classifier = [name for name in end if "segmentation_head" in name]
    assert classifier
    assert not any(torch.equal(halfway[name], end[name]) for name in classifier)

    start = tmp_path / "start.yaml"
    write_recipe(start, dataset, "supervised", steps=1, learning_rate=1e-9, weight_decay=0.0)
    weights = f"net.weights={tmp_path / 'run' / 'pretrained.safetensors'}"
    assert command(capsys, "train", start, "--out", tmp_path / "from_pretrained", "--set", weights).code == 0
    assert_same_learned(tmp_path / "run" / "pretrained.safetensors", tmp_path / "from_pretrained")

    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path / "next.yaml", dataset, "supervised", steps=1, learning_rate=1e-9, weight_decay=0.0)
    answer = command(capsys, "train", recipe, "--out", "next", "--set", "net.weights=run")
    assert answer.code == 0, answer.err
    monkeypatch.chdir(tmp_path.parent)  # the run's recipe does not depend on where it was started
    assert_same_learned(tmp_path / "run" / "student.safetensors", tmp_path / "next")


def test_a_run_that_is_not_finished_has_no_weights_to_give(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    (tmp_path / "empty").mkdir()
    answer = train(capsys, tmp_path, dataset, "--set", f"net.weights={tmp_path / 'empty'}")
    assert_mistake(answer, "there is no weights file", "student.safetensors")
