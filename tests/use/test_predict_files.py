"""Files become results: found, predicted alone or together, in the encoding of the data set, and never elsewhere."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy_network import COLORS, NearestColor, colored, random_labels
from PIL import Image

from fewmask.data.classes import Classes, read_classes, write_classes
from fewmask.data.masks import read_mask
from fewmask.errors import UserError
from fewmask.use.found import find_images
from fewmask.use.network import Maps
from fewmask.use.predict import Summary, predict_files
from fewmask.use.ranks import Share, own_share
from fewmask.use.results import KINDS, Results
from fewmask.use.streaming import Way
from toy import read, save, short_files

NAMES = ("soil", "cat", "dog")


def predict(images: object, out: Path, network: Any = None, kinds: Any = KINDS[:3], **options: Any) -> Summary:
    network = network or NearestColor()
    return predict_files(network, str(images), Results(out, kinds, network.classes), {"model": "1"}, **options)


def written(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out / "masks")) for path in (out / "masks").rglob("*") if path.is_file())


def save_scene(path: Path, height: int = 20, width: int = 30) -> np.ndarray:
    labels = random_labels(height, width)
    save(colored(labels), path)
    return labels


ENCODINGS = {
    "index": Classes(names=NAMES, colors=COLORS[:3]),
    "values": Classes(names=NAMES, values=(1, 2, 3), ignore=(0,), colors=COLORS[:3]),
    "values of 16 bits": Classes(names=NAMES, values=(7, 300, 65535), colors=COLORS[:3]),
    "rgb": Classes(names=NAMES, encoding="rgb", colors=((9, 9, 9), (8, 200, 8), (255, 255, 255))),
    "binary": Classes(names=NAMES[:2], encoding="binary", ignore=(128,), colors=COLORS[:2]),
    "instances": Classes(names=NAMES[:2], encoding="instances", colors=COLORS[:2]),
    "instances, and 255 is ignored": Classes(names=NAMES[:2], encoding="instances", ignore=(255,), colors=COLORS[:2]),
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("tile", [16, 512])
def test_a_predicted_mask_given_back_as_a_label_is_the_prediction(name: str, tile: int, tmp_path: Path) -> None:
    classes = ENCODINGS[name]
    labels = random_labels(70, 90, len(classes))
    save(colored(labels), tmp_path / "a.png")
    predict(tmp_path / "a.png", tmp_path / "out", NearestColor(classes), way=Way(tile=tile, overlap=8))
    write_classes(classes, tmp_path / "dataset.yaml")
    found = read_mask(tmp_path / "out" / "masks" / "a.png", read_classes(tmp_path))
    assert np.array_equal(found.numpy(), labels)


def test_the_results_are_what_they_are_called(tmp_path: Path) -> None:
    labels = save_scene(tmp_path / "a.png")
    predict(tmp_path / "a.png", tmp_path / "out", kinds=KINDS)
    mask, overlay, confidence, entropy = (read(tmp_path / "out" / kind / "a.png") for kind in KINDS)
    assert np.array_equal(np.asarray(mask), labels)
    assert np.array_equal(np.asarray(mask.convert("RGB")), colored(labels))
    assert np.array_equal(np.asarray(overlay), colored(labels))  # half the image, half its own color
    assert np.asarray(confidence).min() > 240
    assert np.asarray(entropy).max() < 60


def test_folders_files_patterns_and_lists_are_found(tmp_path: Path) -> None:
    for name in ("photos/a.png", "photos/b c.jpg", "photos/deep/d.png", "photos/.hidden/e.png", "other/f.png"):
        save_scene(tmp_path / name)
    photos, out = tmp_path / "photos", tmp_path / "out"

    def stems(given: object) -> list[str]:
        return [str(image.stem) for image in find_images(str(given), [out])]

    assert stems(photos) == ["a", "b c", "deep/d"]
    assert stems(photos / "a.png") == ["a"]
    assert stems(photos / "*.png") == ["a"]
    assert stems(tmp_path / "**" / "*.png") == ["other/f", "photos/a", "photos/deep/d"]
    (tmp_path / "list.txt").write_text(f"photos/a.png\r\n{tmp_path}/other/../other/f.png\n\nphotos/a.png\n")
    assert stems(tmp_path / "list.txt") == ["photos/a", "other/f"]
    for given, message in (
        (photos / "*.gif", "there is no such file or folder"),
        ("x" * 300, "this is no path"),
        (tmp_path / "empty.txt", "the list of images is empty"),
    ):
        (tmp_path / "empty.txt").write_text("\n")
        with pytest.raises(UserError, match=message):
            stems(given)


MASKS = ["masks", "labels", "Annotations", "train_gt", "valannot"]
BESIDE_IMAGES = ["gt", "ann_dir", "seg", "masks_auto"]


def test_folders_of_masks_are_left_out_by_their_names(tmp_path: Path) -> None:
    for place in ("photos", "set/images", *(f"photos/{name}" for name in [*MASKS, "gt", "anna"])):
        save_scene(tmp_path / place / "a.png")
    for name in [*MASKS, *BESIDE_IMAGES]:
        save_scene(tmp_path / "set" / name / "a.png")
    save_scene(tmp_path / "cityscapes" / "leftImg8bit" / "train" / "a.png")
    save_scene(tmp_path / "cityscapes" / "gtFine" / "train" / "a.png")

    def stems(given: Path) -> list[str]:
        return [str(image.stem) for image in find_images(str(given), [])]

    assert stems(tmp_path / "photos") == ["a", "anna/a", "gt/a"]  # gt alone may mean anything
    assert stems(tmp_path / "set") == ["images/a"]
    assert stems(tmp_path / "cityscapes") == ["leftImg8bit/train/a"]
    assert stems(tmp_path / "set" / "labels") == ["a"]
    assert stems(tmp_path / "set" / "labels" / "*.png") == ["a"]


def test_neighbors_of_one_size_are_predicted_together(tmp_path: Path) -> None:
    sizes = [(20, 30), (20, 30), (20, 30), (24, 30), (20, 30)]
    labels = [save_scene(tmp_path / "in" / f"{index}.png", *size) for index, size in enumerate(sizes)]
    network = NearestColor()
    assert predict(tmp_path / "in", tmp_path / "out", network) == Summary(5, 0)
    assert [shape[0] for shape in network.seen] == [3, 1, 1]
    for index, expected in enumerate(labels):
        assert np.array_equal(np.asarray(read(tmp_path / "out" / "masks" / f"{index}.png")), expected)


def test_what_is_done_is_skipped_and_ranks_share_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(5):
        save_scene(tmp_path / "in" / f"{index}.png")
    out = tmp_path / "out"
    assert predict(tmp_path / "in", out, share=Share(0, 2)) == Summary(3, 0)
    assert written(out) == ["0.png", "2.png", "4.png"]
    assert predict(tmp_path / "in", out, share=Share(1, 2)) == Summary(2, 0)
    network = NearestColor()
    assert predict(tmp_path / "in", out, network) == Summary(5, 5)
    assert network.seen == []
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert own_share() == Share(1, 4, 1)


JOB = {"SLURM_JOB_NAME": "predict", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        (JOB, Share()),  # sbatch without srun: one process, whatever the number of tasks of the job
        (JOB | {"SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}, Share(3, 4, 1)),
        (JOB | {"SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "interactive"}, Share()),
    ],
)
def test_only_tasks_of_srun_share_the_images_of_a_job(
    environment: dict[str, str], share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert own_share() == share


def test_results_of_other_images_are_not_taken_for_those_of_images_with_the_same_names(tmp_path: Path) -> None:
    labels = {place: save_scene(tmp_path / place / "sub" / "a.png", 20, 30 + len(place)) for place in ("in", "second")}
    out = tmp_path / "out"
    predict(tmp_path / "in", out)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for same in ("link", "in/sub/../../in"):
        assert predict(tmp_path / same, out) == Summary(1, 1)
    with pytest.raises(UserError, match=rf"it holds predictions of the images in {tmp_path}/in\. Choose another --out"):
        predict(tmp_path / "second", out)
    assert predict(tmp_path / "second", out, force=True) == Summary(1, 0)
    assert np.array_equal(np.asarray(read(out / "masks" / "sub" / "a.png")), labels["second"])


@pytest.mark.parametrize("text", ["no JSON", "[1]", "{}", '{"model": "1"}'])
def test_a_record_that_is_damaged_or_of_something_else_is_not_gone_on_with(text: str, tmp_path: Path) -> None:
    save_scene(tmp_path / "a.png")
    predict(tmp_path / "a.png", tmp_path / "out")
    (tmp_path / "out" / "prediction.json").write_text(text)
    with pytest.raises(UserError, match="by another model or with other settings"):
        predict(tmp_path / "a.png", tmp_path / "out")


def test_a_record_that_names_no_folder_of_images_is_not_gone_on_with(tmp_path: Path) -> None:
    save_scene(tmp_path / "a.png")
    predict(tmp_path / "a.png", tmp_path / "out")
    file = tmp_path / "out" / "prediction.json"
    record = json.loads(file.read_text())
    del record["images"]
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match="of the images in an unknown folder"):
        predict(tmp_path / "a.png", tmp_path / "out")


def test_results_of_a_kind_that_is_not_made_anew_do_not_pass_for_those_of_another_model(tmp_path: Path) -> None:
    save_scene(tmp_path / "a.png")
    out = tmp_path / "out"
    predict(tmp_path / "a.png", out, kinds=("masks", "overlays"))
    before = (out / "overlays" / "a.png").read_bytes()
    with pytest.raises(UserError, match=r"overlays/a\.png: it is by another model.*all images and kinds"):
        predict(tmp_path / "a.png", out, kinds=("masks",), force=True, way=Way(tile=64))
    assert (out / "overlays" / "a.png").read_bytes() == before
    (out / "overlays" / "a.png").unlink()
    assert predict(tmp_path / "a.png", out, kinds=("masks",), force=True, way=Way(tile=64)) == Summary(1, 0)


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "<script>.png", "new\nline.png", "\x1b[31mred.png", "mäuse 猫.png", "x" * 251 + ".png"):
        save_scene(photos / name)
    os.mkfifo(photos / "pipe.png")
    Image.fromarray(colored(random_labels(9, 9))).save(photos / "vector.eps")
    (photos / "vector.eps").rename(photos / "vector.png")
    (photos / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"3 of 9 images failed .*the other 6 are done") as caught:
        predict(photos, out)
    assert {Path(name).name for name in [caught.value.where]} <= {"pipe.png", "text.png", "vector.png"}
    assert len(written(out)) == 6
    assert not list(out.rglob("*.part"))


def test_an_image_that_memory_does_not_hold_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise MemoryError

    save_scene(tmp_path / "a.png")
    monkeypatch.setattr("fewmask.use.raster.source.read_pixels", full)
    with pytest.raises(UserError, match=r"a\.png: there is too little memory to decode the image\. Free some"):
        predict(tmp_path / "a.png", tmp_path / "out")


def test_nothing_is_written_outside_of_the_folder_of_results(tmp_path: Path) -> None:
    save_scene(tmp_path / "in" / "sub" / "a.png")
    save_scene(tmp_path / "in" / "b.png")
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.png").write_bytes(b"mine")
    for kind in KINDS[:3]:
        (out / kind).mkdir(parents=True)
        (out / kind / "sub").symlink_to(elsewhere)
    (out / "masks" / "b.png").symlink_to(elsewhere / "mine.png")
    with pytest.raises(UserError, match="a link leads out of the folder of results"):
        predict(tmp_path / "in", out, force=True)
    assert [path.name for path in elsewhere.iterdir()] == ["mine.png"]
    assert (elsewhere / "mine.png").read_bytes() == b"mine"
    assert not (out / "masks" / "b.png").is_symlink()


def test_a_full_disk_ends_the_work_in_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    for index in range(3):
        labels = np.random.default_rng(index).integers(0, 4, (60, 60)).astype(np.uint8)
        save(colored(labels), tmp_path / "in" / f"{index}.png")
    with short_files(600), pytest.raises(UserError, match=r"cannot write it .*Free some space"):
        predict(tmp_path / "in", tmp_path / "out", kinds=KINDS[:1])
    assert written(tmp_path / "out") == []


def test_a_large_picture_is_streamed_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = save_scene(tmp_path / "a.png", 300, 200)
    predict(tmp_path / "a.png", tmp_path / "whole")
    monkeypatch.setattr("fewmask.use.raster.source.WHOLE", 1)
    monkeypatch.setattr("fewmask.use.raster.png._BAND", 5000)
    heights: list[int] = []
    network = NearestColor()
    maps = network.maps

    def watched(*args: Any) -> Maps:
        found = maps(*args)
        heights.append(len(found.labels))
        return found

    monkeypatch.setattr(network, "maps", watched)
    predict(tmp_path / "a.png", tmp_path / "streamed", network, way=Way(tile=64, overlap=16))
    for kind in KINDS[:3]:
        one, other = (np.asarray(read(tmp_path / folder / kind / "a.png")) for folder in ("whole", "streamed"))
        assert np.array_equal(one, other)
    assert np.array_equal(np.asarray(read(tmp_path / "streamed" / "masks" / "a.png")), labels)
    assert sum(heights) == 300
    assert len(heights) > 10
