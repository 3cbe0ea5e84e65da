"""The command line as a person meets it: what works, and one line for every mistake."""

import csv
import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from PIL import Image

from toy import HEIGHT, NAMES, WIDTH, Answer, Child, command, draw_scene, read, save, write_recipe

Capsys = pytest.CaptureFixture[str]
ONE_STEP = ("--set", "training.steps=1")
SUPERVISED = ("--method", "supervised")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    """A finished run of class_bank; not to be changed."""
    import fewmask

    folder = tmp_path_factory.mktemp("finished")
    return fewmask.train(write_recipe(folder / "recipe.yaml", dataset), folder / "run")


@pytest.fixture
def data(tmp_path: Path, dataset: Path) -> Path:
    """A dataset to be broken."""
    return Path(shutil.copytree(dataset, tmp_path / "data"))


def assert_mistake(answer: Answer, *fragments: object) -> None:
    assert answer.code == 2, answer
    assert answer.err.startswith("fewmask: "), answer.err
    assert answer.err.count("\n") == 1, answer.err
    for fragment in fragments:
        assert str(fragment) in answer.err


def train(capsys: Capsys, tmp_path: Path, data: Path, *flags: object) -> Answer:
    recipe = write_recipe(tmp_path / "recipe.yaml", data)
    return command(capsys, "train", recipe, "--out", tmp_path / "run", *flags)


def test_training_tells_what_it_does_and_how_to_go_on(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    answer = train(capsys, tmp_path, dataset)
    run = tmp_path / "run"
    first, *steps, score, use = answer.out.splitlines()
    assert answer.code == 0
    assert first == (
        "class_bank: 4 labeled and 6 unlabeled images, 4 classes, crops of 64 x 48 (width x height), "
        f"4 steps on cpu -> {run}"
    )
    assert [line.split(" | ")[0] for line in steps] == ["step 2/4", "step 4/4"]
    assert score == f"Done. Score it: fewmask evaluate {run}"
    assert use == f"      Use it:   fewmask predict {run} IMAGES --out DIR"
    assert answer.err == ""


def test_libraries_add_nothing_to_what_is_printed(tmp_path: Path, dataset: Path) -> None:
    recipe, run = write_recipe(tmp_path / "recipe.yaml", dataset), tmp_path / "run"
    for words, num_lines in (
        (("train", recipe, "--out", run, "--precision", "bf16"), 5),
        (("evaluate", run, "--json"), 1),
        (("predict", run, dataset / "test" / "images", "--out", tmp_path / "out"), 1),
    ):
        answer = Child(tmp_path, *words).answer()  # in pytest's own process, its handlers would catch log lines
        assert answer.code == 0
        assert answer.err == ""
        assert len(answer.out.splitlines()) == num_lines


def test_folder_name_with_brackets_is_printed_as_it_is(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset)
    out = tmp_path / "[red]run"
    answer = command(capsys, "train", recipe, "--out", out, *SUPERVISED, *ONE_STEP)
    assert f"fewmask evaluate {out}\n" in answer.out


@pytest.mark.parametrize("words", [(), ("train",), ("evaluate",), ("predict",), ("doctor",), ("demo",)])
def test_every_command_has_help(words: tuple[str, ...], capsys: Capsys) -> None:
    answer = command(capsys, *words, "--help")
    assert answer.code == 0
    assert "Usage: " in answer.out


# ---- data and settings that cannot work


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


def nothing(data: Path) -> None:
    pass


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("reading", [(), ("--set", "data.cache=false", "--set", "data.workers=1")])
@pytest.mark.parametrize(
    ("spoil", "fragments"),
    [
        (mask_of_another_size, ["train1.png: the mask is 40 x 40 but its image train1.png is 64 x 48", "Export"]),
        (mask_with_value_23, ["train1.png: the mask holds value 23, but classes are 0-3", "Add class 23"]),
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
        (no_unlabeled, [], ["class_bank learns from unlabeled images too", "hide masks with --labels"]),
        (nothing, ["--labels", "99"], ["99 labels are asked for, but 4 train images have masks"]),
        (nothing, ["--labels", "some.txt"], ["'some.txt' is no share, no number and no file"]),
        (nothing, ["--set", "training.steps"], ["--set: 'training.steps' is not a setting", "training.steps=2000"]),
        (nothing, ["--set", "training.stepps=3"], ["there is no setting training.stepps", "(nearest: steps)"]),
        (nothing, ["--method", "clas_bank"], ["there is no method 'clas_bank'", "(nearest: class_bank)"]),
        (nothing, ["--precision", "fp8"], ["training.precision is 'fp8': it should be 'auto', '32' or 'bf16'"]),
        (nothing, ["--set", "training.device=gpu"], ["there is no device 'gpu'", "auto, cpu, cuda or mps"]),
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
    start = time.monotonic()
    answer = train(capsys, tmp_path, dataset, "--set", "net.weights=imagenet")
    assert_mistake(answer, "net.weights: the pretrained weights of test_resnet are not on this machine", "weights=none")
    assert time.monotonic() - start < 10


def test_training_needs_data_and_a_folder_to_go_to(dataset: Path, tmp_path: Path, capsys: Capsys) -> None:
    assert_mistake(command(capsys, "train"), "train: there is nothing to train on")
    assert_mistake(command(capsys, "train", dataset), "--out: the run needs a folder")
    assert_mistake(command(capsys, "train", dataset, "--resume", tmp_path), "--resume: a resumed run keeps its recipe")


def test_folder_in_use_is_left_alone(run: Path, data: Path, tmp_path: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", data)
    before = (data / "dataset.yaml").read_text(), (run / "recipe.yaml").read_text()
    assert_mistake(command(capsys, "train", recipe, "--out", run), run, "already holds a run", "train --resume")
    assert_mistake(command(capsys, "train", recipe, "--out", data), data, "holds a dataset", "another --out")
    assert ((data / "dataset.yaml").read_text(), (run / "recipe.yaml").read_text()) == before


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


def save_lying(image: Any, path: Path) -> None:
    orientation = Image.Exif()
    orientation[0x0112] = 6  # a viewer turns it clockwise
    Image.fromarray(np.rot90(image).copy()).save(path, exif=orientation)


def two_classes_in_0_and_255(data: Path) -> None:
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
        (two_classes_in_0_and_255, [], "2 classes"),
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
    answer = command(capsys, "train", dataset, "--out", tmp_path / "run", *net, *shape, *ONE_STEP)
    assert answer.code == 0
    assert answer.out.startswith("class_bank: 4 labeled and 6 unlabeled images")
    assert answer.err == ""


def test_baseline_is_trained_beside_and_compared(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    answer = train(capsys, tmp_path, dataset, "--baseline")
    assert answer.code == 0
    assert "what the unlabeled images gave, IoU on val" in answer.out
    assert (tmp_path / "run" / "baseline" / "student.safetensors").exists()


# ---- evaluate


def test_json_is_one_object_and_nothing_else(run: Path, capsys: Capsys) -> None:
    answer = command(capsys, "evaluate", run, "--split", "test", "--json")
    scores = json.loads(answer.out)
    assert answer.err == ""
    assert set(scores) == {
        "miou",
        "per_class",
        "pixel_accuracy",
        "student",
        "teacher",
        "split",
        "images",
        "predictor",
    }
    assert (scores["split"], scores["images"], scores["predictor"]) == ("test", 3, "student")
    assert tuple(scores["per_class"]) == NAMES
    assert scores["miou"] == pytest.approx(np.mean(list(scores["per_class"].values())))
    assert scores["student"] == {name: scores[name] for name in ("miou", "per_class", "pixel_accuracy")}
    assert scores["teacher"]["per_class"].keys() == scores["per_class"].keys()
    assert json.loads((run / "scores_test.json").read_text()) == scores


def test_class_that_the_set_does_not_hold_is_null_and_shown_as_not_available(
    run: Path, data: Path, capsys: Capsys
) -> None:
    for mask in (data / "val" / "masks").iterdir():
        labels = np.asarray(read(mask))
        save(np.where(labels == 3, 0, labels).astype(np.uint8), mask)
    scores = json.loads(command(capsys, "evaluate", run, "--data", data, "--json").out)
    assert scores["per_class"]["car"] is None
    assert scores["miou"] == pytest.approx(np.mean([scores["per_class"][name] for name in NAMES[:3]]))
    table = command(capsys, "evaluate", run, "--data", data).out
    assert table.startswith("IoU on val, 3 images; the student predicts\n")
    (row,) = [line for line in table.splitlines() if "car" in line]
    assert row.count("n/a") == 2  # student and teacher


def test_scores_of_other_data_do_not_replace_the_runs_own(run: Path, data: Path, capsys: Capsys) -> None:
    command(capsys, "evaluate", run)
    before = (run / "scores_val.json").read_text()
    for index in range(3):
        save(np.zeros((HEIGHT, WIDTH), np.uint8), data / "val" / "masks" / f"val{index}.png")
    command(capsys, "evaluate", run, "--data", data)
    assert (run / "scores_val.json").read_text() == before


def test_evaluate_of_what_is_not_there_is_one_line(
    run: Path, data: Path, dataset: Path, tmp_path: Path, capsys: Capsys
) -> None:
    unfinished = Path(shutil.copytree(run, tmp_path / "unfinished"))
    (unfinished / "student.safetensors").unlink()
    assert_mistake(command(capsys, "evaluate", unfinished), "the training is not finished", f"--resume {unfinished}")
    assert_mistake(command(capsys, "evaluate", data), data, "this is no run folder")
    assert_mistake(command(capsys, "evaluate", run, "--split", "tets"), "there is no split 'tets'", "(nearest: test)")
    assert_mistake(command(capsys, "evaluate", run, "--device", "gpu"), "--device: there is no device 'gpu'")
    shutil.rmtree(data / "test")
    answer = command(capsys, "evaluate", run, "--split", "test", "--data", data)
    assert_mistake(answer, "there are no masks in test/masks", "score another split: train, val")
    (data / "dataset.yaml").write_text("names: [ground, box, tree]\n")
    assert_mistake(command(capsys, "evaluate", run, "--data", data), "the run knows 4 classes, the folder 3")


def test_evaluate_of_broken_data_is_one_line(run: Path, data: Path, capsys: Capsys) -> None:
    save(np.zeros((40, 40), np.uint8), data / "val" / "masks" / "val1.png")
    answer = command(capsys, "evaluate", run, "--data", data)
    assert_mistake(answer, "val1.png: the mask is 40 x 40 but its image val1.png is 64 x 48")


def test_damaged_or_foreign_model_is_one_line(run: Path, tmp_path: Path, capsys: Capsys) -> None:
    damaged = Path(shutil.copytree(run, tmp_path / "damaged"))
    truncate(damaged / "teacher.safetensors")
    assert_mistake(command(capsys, "evaluate", damaged), "teacher.safetensors: the file cannot be read")
    foreign = Path(shutil.copytree(run, tmp_path / "foreign"))
    recipe = foreign / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("- 32\n", "- 24\n"))
    assert_mistake(command(capsys, "evaluate", foreign), "these weights do not fit the network of the recipe")


# ---- predict


def test_prediction_keeps_names_folders_and_sizes(run: Path, tmp_path: Path, capsys: Capsys) -> None:
    images = tmp_path / "photos"
    save(draw_scene(np.random.default_rng(0))[0], images / "a.png")
    save(draw_scene(np.random.default_rng(1), 50, 70)[0], images / "monday" / "b.png")
    save(draw_scene(np.random.default_rng(2))[0][..., 0], images / "monday" / "gray.v2.png")
    save(draw_scene(np.random.default_rng(2))[0][..., 0], images / ".trash" / "c.png")
    save_lying(draw_scene(np.random.default_rng(3))[0], images / "phone.jpg")
    out = images / "out"
    for flags in ([], ["--force"]):  # the second time, the first predictions are no images
        answer = command(capsys, "predict", run, images, "--out", out, *flags)
        assert answer.code == 0
        assert answer.err == ""
        assert answer.out == f"4 images -> {out}/masks, {out}/overlays, {out}/confidence\n"

    sizes = {"a.png": (64, 48), "monday/b.png": (70, 50), "monday/gray.v2.png": (64, 48), "phone.png": (64, 48)}
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == sorted(f"{kind}/{name}" for kind in ("masks", "overlays", "confidence") for name in sizes)
    for name, size in sizes.items():
        mask, overlay, confidence = (read(out / kind / name) for kind in ("masks", "overlays", "confidence"))
        assert {mask.size, overlay.size, confidence.size} == {size}
        assert (mask.mode, overlay.mode, confidence.mode) == ("P", "RGB", "L")


def test_predicted_mask_holds_class_positions_and_their_colors(run: Path, dataset: Path, tmp_path: Path) -> None:
    import fewmask
    from fewmask.engine.predict import predict_files

    model = fewmask.load(run)
    image = dataset / "test" / "images" / "test0.png"
    predict_files(model, image, tmp_path / "out")
    mask = read(tmp_path / "out" / "masks" / "test0.png")
    prediction = model.predict_one(image)
    assert np.array_equal(np.asarray(mask), prediction.labels)
    shown = np.asarray(mask.convert("RGB"))
    assert np.array_equal(shown, np.array(model.classes.colors, np.uint8)[prediction.labels])
    confidence = np.asarray(read(tmp_path / "out" / "confidence" / "test0.png"))
    assert np.abs(confidence / 255 - prediction.confidence).max() <= 0.5 / 255 + 1e-6


def test_prediction_over_existing_files_needs_force(run: Path, dataset: Path, tmp_path: Path, capsys: Capsys) -> None:
    images, out = dataset / "test" / "images", tmp_path / "out"
    command(capsys, "predict", run, images / "test1.png", "--out", out)
    (out / "overlays" / "test1.png").write_bytes(b"mine")
    answer = command(capsys, "predict", run, images, "--out", out)
    assert_mistake(answer, f"{out}/masks/test1.png: it and 2 more files exist already", "--force")
    assert (out / "overlays" / "test1.png").read_bytes() == b"mine"
    assert not (out / "masks" / "test0.png").exists()
    assert command(capsys, "predict", run, images, "--out", out, "--force").code == 0
    assert (out / "overlays" / "test1.png").read_bytes() != b"mine"


def test_what_cannot_be_predicted_is_one_line(run: Path, tmp_path: Path, capsys: Capsys) -> None:
    images = tmp_path / "images"
    images.mkdir()
    assert_mistake(command(capsys, "predict", run, images, "--out", tmp_path / "out"), "there are no images", ".png")
    assert_mistake(command(capsys, "predict", run, images / "x.png", "--out", tmp_path), "there is no such file")
    (images / "notes.png").write_text("no image")
    answer = command(capsys, "predict", run, images, "--out", tmp_path / "out")
    assert_mistake(answer, "notes.png: the file cannot be read: it is no image")
    save(draw_scene(np.random.default_rng(0))[0], images / "notes.png")
    answer = command(capsys, "predict", run, images, "--out", images / "notes.png")
    assert_mistake(answer, "cannot write it (Not a directory)", "--out")
    save(draw_scene(np.random.default_rng(0))[0], images / "notes.jpg")
    answer = command(capsys, "predict", run, images, "--out", tmp_path / "out")
    assert_mistake(answer, "notes.jpg and notes.png would both become notes.png", "Rename")


def test_doctor_agrees_that_the_dataset_can_be_trained_on(dataset: Path, data: Path, capsys: Capsys) -> None:
    assert command(capsys, "doctor", dataset).code == 0
    mask_with_value_23(data)
    answer = command(capsys, "doctor", data)
    assert answer.code == 2
    assert "train1.png" in answer.out
    assert answer.err == ""
