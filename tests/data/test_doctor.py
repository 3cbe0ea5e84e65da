"""The doctor names each wrong file, and stops at none."""

import io
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from fewmask.data.doctor import Diagnosis, diagnosis, examine
from fewmask.data.doctor.printing import print_diagnosis
from fewmask.data.processes import in_processes
from fewmask.errors import UserError

CAMVID = Path(__file__).parents[2].parent / "shared" / "data" / "camvid"
HALVES = np.repeat(np.array([[0, 1]], dtype=np.uint8), 8, axis=1).repeat(12, axis=0)  # 12 x 16, half cat


def _picture(path: Path, seed: int, size: tuple[int, int] = (12, 16), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path, **options)


def _mask(path: Path, pixels: np.ndarray = HALVES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """Six labeled train images, one without a mask, two val images."""
    (tmp_path / "dataset.yaml").write_text("names: [background, cat]\n")
    for index in range(7):
        _picture(tmp_path / f"train/images/{index}.png", seed=index)
        if index < 6:
            _mask(tmp_path / f"train/masks/{index}.png")
    for index in (8, 9):
        _picture(tmp_path / f"val/images/{index}.png", seed=index)
        _mask(tmp_path / f"val/masks/{index}.png")
    return tmp_path


def _found(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return [(problem.level, problem.file) for problem in diagnosis.problems]


def test_healthy_dataset_has_no_problems(healthy: Path) -> None:
    diagnosis = examine(healthy)
    assert diagnosis.problems == ()
    assert diagnosis.num_images == {"train": 7, "unlabeled": 0, "val": 2, "test": 0}
    assert diagnosis.num_labeled == {"train": 6, "unlabeled": 0, "val": 2, "test": 0}
    assert diagnosis.pixel_share == {
        "train": {"background": 0.5, "cat": 0.5},
        "val": {"background": 0.5, "cat": 0.5},
        "test": None,
    }
    assert diagnosis.size_range == ((12, 16), (12, 16))
    assert diagnosis.exit_code(strict=True) == 0


def test_all_problems_are_found_in_one_go(healthy: Path) -> None:
    whole = (healthy / "train/images/0.png").read_bytes()
    (healthy / "train/images/0.png").write_bytes(whole[: len(whole) // 2])
    _mask(healthy / "train/masks/1.png", HALVES * 23)
    _mask(healthy / "train/masks/2.png", HALVES[:, :9])
    _mask(healthy / "train/masks/orphan.png")
    (healthy / "val/masks/8.png").write_bytes(b"")
    diagnosis = examine(healthy)
    errors = {problem.file: problem.text for problem in diagnosis.problems if problem.level == "error"}
    assert "cannot be read" in errors["train/images/0.png"]
    assert "holds value 23" in errors["train/masks/1.png"]
    assert errors["train/masks/2.png"] == "the mask is 9 x 12 pixels, but its image 16 x 12"
    assert "has no image" in errors["train/masks/orphan.png"]
    assert "cannot be read" in errors["val/masks/8.png"]
    assert len(errors) == 5
    assert diagnosis.exit_code() == 2
    assert all(problem.fix for problem in diagnosis.problems)


def test_mask_drawn_before_exif_rotation_is_recognized(healthy: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _picture(healthy / "train/images/0.png", seed=0, exif=exif)
    (problem,) = examine(healthy).problems
    assert "16 x 12 pixels, but its image 12 x 16" in problem.text
    assert "EXIF" in problem.fix


def test_train_picture_in_val_is_an_error_whatever_its_name_and_format(healthy: Path) -> None:
    _picture(healthy / "val/images/leak.bmp", seed=3)
    _mask(healthy / "val/masks/leak.png")
    diagnosis = examine(healthy)
    assert _found(diagnosis) == [("error", "val/images/leak.bmp")]
    assert "train/images/3.png" in diagnosis.problems[0].text


@pytest.mark.parametrize("copy", ["train/images/copy.png", "unlabeled/copy.png"])
def test_train_picture_twice_is_a_warning(healthy: Path, copy: str) -> None:
    _picture(healthy / copy, seed=3)
    diagnosis = examine(healthy)
    assert _found(diagnosis) == [("warning", copy)]
    assert diagnosis.exit_code() == 0
    assert diagnosis.exit_code(strict=True) == 1


def test_flat_pictures_are_warned_of_and_not_taken_for_copies(healthy: Path) -> None:
    for file in ("train/images/6.png", "val/images/9.png"):
        Image.new("RGB", (16, 12), "black").save(healthy / file)
    assert _found(examine(healthy)) == [("warning", "train/images/6.png"), ("warning", "val/images/9.png")]


def test_12_bit_levels_in_16_bits_are_warned_of(healthy: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 4096, (12, 16)).astype(np.uint16)
    Image.fromarray(levels).save(healthy / "train/images/0.png")
    (problem,) = examine(healthy).problems
    assert "its levels are 0 to 1" in problem.text
    assert "12-bit" in problem.fix


def test_binary_masks_read_as_indices_are_recognized(healthy: Path) -> None:
    for index in range(6):
        _mask(healthy / f"train/masks/{index}.png", HALVES * 255)
    (problem,) = examine(healthy).problems
    assert "no mask holds cat" in problem.text
    assert "encoding: binary" in problem.fix


def test_binary_masks_among_masks_of_indices_are_warned_of(healthy: Path) -> None:
    _mask(healthy / "train/masks/3.png", HALVES * 255)
    (problem,) = examine(healthy).problems
    assert problem.level == "warning"
    assert problem.text == "1 masks hold 255, which is ignored, and no cat; others do"
    assert "train/masks/3.png" in problem.fix


def test_class_without_labels_is_a_warning_and_a_rare_one_a_note(healthy: Path) -> None:
    (healthy / "dataset.yaml").write_text("names: [background, cat, dog, bird]\n")
    _mask(healthy / "train/masks/0.png", HALVES * 3)
    _mask(healthy / "val/masks/8.png", HALVES * 3)
    problems = {problem.text: problem.level for problem in examine(healthy).problems}
    assert problems == {"class dog has no labels": "warning", "class bird is labeled in only 1 image": "note"}


def test_mask_without_any_label_is_a_warning(healthy: Path) -> None:
    _mask(healthy / "train/masks/0.png", np.full((12, 16), 255))
    assert _found(examine(healthy)) == [("warning", "train/masks/0.png")]


def test_masks_without_any_label_at_all_are_an_error(healthy: Path) -> None:
    (healthy / "dataset.yaml").write_text("names: [background, cat, dog]\n")
    for mask in (healthy / "train/masks").iterdir():
        _mask(mask, HALVES * 0 + 255)
    errors = [problem.text for problem in examine(healthy).problems if problem.level == "error"]
    assert errors == ["every pixel of every mask is ignored, so there is nothing to learn"]


def test_jpeg_mask_is_named_once(healthy: Path) -> None:
    _mask(healthy / "train/masks/6.jpg")
    assert _found(examine(healthy)) == [("error", "train/masks/6.jpg")]


def test_a_file_of_several_pictures_is_a_warning(healthy: Path) -> None:
    pages = [Image.fromarray(np.full((12, 16, 3), level, np.uint8)) for level in (10, 200)]
    pages[0].putpixel((0, 0), (255, 255, 255))
    pages[0].save(healthy / "train/images/stack.tif", save_all=True, append_images=pages[1:])
    found = [problem for problem in examine(healthy).problems if problem.file.endswith("stack.tif")]
    assert [(problem.level, problem.text) for problem in found] == [
        ("warning", "the file holds 2 pictures, and only the first is read")
    ]


def test_files_of_systems_are_not_worth_a_word(healthy: Path) -> None:
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png"):
        (healthy / "train/masks" / name).touch()
    assert examine(healthy).problems == ()


def test_files_that_are_not_read_are_told(healthy: Path) -> None:
    (healthy / "train/images/photo.heic").touch()
    (healthy / "train/masks/6.webp").touch()
    assert _found(examine(healthy)) == [("warning", "train/masks"), ("note", "train/images")]


def test_dataset_without_val_or_with_all_masks_gets_notes(healthy: Path) -> None:
    (healthy / "train/images/6.png").unlink()
    for file in sorted((healthy / "val").rglob("*.png")):
        file.unlink()
    diagnosis = examine(healthy)
    assert [problem.level for problem in diagnosis.problems] == ["note", "note"]
    assert "there is no val" in {problem.text for problem in diagnosis.problems}


def test_missing_masks_of_val_are_a_warning_and_no_masks_in_train_an_error(healthy: Path) -> None:
    (healthy / "val/masks/8.png").unlink()
    for file in (healthy / "train/masks").iterdir():
        file.unlink()
    diagnosis = examine(healthy)
    assert _found(diagnosis) == [("error", "train/masks"), ("warning", "val")]
    assert diagnosis.problems[1].text == "1 of 2 images have no mask"


def test_without_classes_the_files_are_read_and_the_values_told(healthy: Path) -> None:
    (healthy / "dataset.yaml").unlink()
    (healthy / "train/images/6.png").write_bytes(b"")
    diagnosis = examine(healthy)
    assert [problem.text.split()[0] for problem in diagnosis.problems] == ["neither", "the"]
    assert diagnosis.pixel_share["train"] == {"value 0": 0.5, "value 1": 0.5}
    assert diagnosis.classes is None
    assert _found(diagnosis) == [("error", ""), ("error", "train/images/6.png")]


def test_missing_folder_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        examine(tmp_path / "nowhere")


def test_progress_reaches_its_end(healthy: Path) -> None:
    with Progress(console=Console(file=io.StringIO())) as progress:
        examine(healthy, progress)
    assert progress.finished
    assert progress.tasks[0].total == 9


@pytest.mark.slow
def test_other_processes_find_the_same_in_the_same_order(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in (0, 3, 4):
        (healthy / f"train/images/{index}.png").write_bytes(b"")
        _mask(healthy / f"train/masks/{index + 1}.png", HALVES * 23)
    here = examine(healthy)
    assert len(here.problems) > 5
    monkeypatch.setattr(diagnosis, "in_processes", partial(in_processes, look=0.0))
    keep = "multiprocessing.context.BaseContext.set_forkserver_preload"  # conftest has set it
    monkeypatch.setattr(keep, lambda *_: None)
    assert examine(healthy) == here


def test_a_process_that_dies_is_a_mistake_at_the_file_that_it_read(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(work: Any, samples: Any, _: str) -> Any:
        yield from map(work, samples[:2])
        raise BrokenProcessPool

    monkeypatch.setattr(diagnosis, "in_processes", dies)
    with pytest.raises(UserError, match=r"2\.png: a process that reads the files ended") as caught:
        examine(healthy)
    assert "memory is full" in caught.value.fix


# what is printed


def _printed(diagnosis: Diagnosis, width: int = 80, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_diagnosis(diagnosis, Console(file=file, width=width))
    file.seek(0)
    return file.read()


def test_print_shows_splits_shares_and_problems_in_80_columns(healthy: Path) -> None:
    _mask(healthy / "train/masks/1.png", HALVES * 23)
    text = _printed(examine(healthy))
    assert "size 16 x 12" in text
    assert "50.00% ■" in text
    assert "n/a" in text
    assert "1 error" in text
    assert "train/masks/1.png: the mask holds value 23" in text
    assert "-> Write `ignore: [23]` in dataset.yaml." in text
    assert "Ready" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_print_shortens_many_problems_with_one_remedy(healthy: Path) -> None:
    for index in range(6):
        (healthy / f"train/masks/{index}.png").write_bytes(b"")
    text = _printed(examine(healthy))
    assert "6 errors" in text
    assert text.count("cannot be read") == 5
    assert "... and 1 more" in text
    assert text.count("-> Copy it again, save it as png") == 1


def test_print_keeps_to_the_terminal_of_windows(healthy: Path) -> None:
    assert "50.00% #####" in _printed(examine(healthy), encoding="cp1252")


def test_print_takes_names_with_brackets_literally(healthy: Path) -> None:
    (healthy / "dataset.yaml").write_text("names: ['[red]background', '[/]cat', dog]\n")
    (healthy / "train/images/[bold]x.png").write_bytes(b"")
    text = _printed(examine(healthy), width=100)
    assert "[red]background" in text
    assert "[bold]x.png" in text


@pytest.mark.slow
@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside the repository")
def test_camvid_is_healthy_but_for_a_mask_that_is_shifted() -> None:
    diagnosis = examine(CAMVID)
    found = [problem for problem in diagnosis.problems if problem.level != "note"]
    assert [(problem.level, problem.file) for problem in found] == [("warning", "test/masks/Seq05VD_f02610.png")]
    assert "does not fit its image" in found[0].text
    assert diagnosis.num_images == {"train": 367, "unlabeled": 0, "val": 101, "test": 233}
    shares = diagnosis.pixel_share["train"]
    assert shares is not None
    assert shares["Road"] == pytest.approx(0.33, abs=0.01)
    assert "Bicyclist" in _printed(diagnosis)
