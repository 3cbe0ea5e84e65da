"""Several masks an image, and polygons, become one mask an image."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewmask.data.convert import convert
from fewmask.data.doctor import examine
from fewmask.data.folder import read_folder
from fewmask.data.masks import read_mask
from fewmask.errors import UserError

SIZE = (12, 16)
CAT, DOG = (slice(2, 6), slice(2, 7)), (slice(5, 11), slice(5, 15))  # they overlap, and the cat is smaller


def _truth(num_classes: int = 3) -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    labels[DOG] = num_classes - 1
    labels[CAT] = 1
    return labels


def _image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)).save(path)


def _area(path: Path, place: Any) -> None:
    area = np.zeros(SIZE, np.uint8)
    area[place] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(area).save(path)


def _labels(out: Path) -> list[Any]:
    folder = read_folder(out)
    return [None if one.mask is None else read_mask(one.mask, folder.classes).tolist() for one in folder.train]


@pytest.mark.parametrize(
    ("names", "image", "masks"),
    [
        ("ground, cat, dog", "train/images/a.png", ("train/masks/a_class_cat.png", "train/masks/a_class_dog.png")),
        ("ground, cat, dog", "train/images/a.png", ("train/masks/a/cat.png", "train/masks/a/dog.png")),
        ("ground, cat, dog", "images/train/a.png", ("masks/train/cat_a.png", "masks/train/dog_a.png")),
        ("ground, cat", "train/images/a.png", ("train/masks/a/0.png", "train/masks/a/1.png")),
        ("ground, cat", "train/a/images/a.png", ("train/a/masks/x.png", "train/a/masks/y.png")),
    ],
)
def test_masks_of_an_image_are_merged(tmp_path: Path, names: str, image: str, masks: tuple[str, str]) -> None:
    root = tmp_path / "data"
    _image(root / image)
    for mask, place in zip(masks, (CAT, DOG), strict=True):
        _area(root / mask, place)
    (root / "dataset.yaml").write_text(f"names: [{names}]\n")
    assert "fewmask convert" in next(problem.fix for problem in examine(root).problems if problem.level == "error")
    made = convert(root, tmp_path / "out")
    assert (made.num_images, made.num_masks) == (1, 1)
    assert _labels(tmp_path / "out") == [_truth(len(made.classes)).tolist()]


def test_tasks_of_label_studio_are_merged_by_their_export(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _image(root / "train/images/a.png")
    for number, (tag, place) in enumerate((("cat", CAT), ("dog", DOG))):
        _area(root / f"train/masks/task-7-annotation-{number}-by-1-tag-{tag}-0.png", place)
    (root / "dataset.yaml").write_text("names: [ground, cat, dog]\n")
    tasks = tmp_path / "export.json"
    tasks.write_text(json.dumps([{"id": 7, "data": {"image": "/data/upload/1/8f3c-a.png"}}]))
    convert(root, tmp_path / "out", tasks)
    assert _labels(tmp_path / "out") == [_truth().tolist()]


def _box(place: Any) -> list[int]:
    rows, columns = place
    return [columns.start, rows.start, columns.stop, rows.start, columns.stop, rows.stop, columns.start, rows.stop]


def _run_lengths(place: Any) -> list[int]:
    area = np.zeros(SIZE, bool)
    area[place] = True
    column_wise = np.concatenate(([False], area.T.ravel(), [False]))
    ends = np.flatnonzero(column_wise[1:] != column_wise[:-1])
    return [int(length) for length in np.diff([0, *ends, area.size])]


@pytest.mark.parametrize("segment", [lambda place: [_box(place)], lambda p: {"counts": _run_lengths(p), "size": SIZE}])
def test_coco_gets_masks_and_classes_of_its_categories(tmp_path: Path, segment: Any) -> None:
    root = tmp_path / "data"
    for name in ("a", "b"):
        _image(root / f"train/{name}.png", seed=ord(name))
    annotations = [
        {"id": number, "image_id": 3, "category_id": 10 + number, "segmentation": segment(place)}
        for number, place in enumerate((CAT, DOG))
    ]
    categories = [{"id": 9, "name": "animals"}, {"id": 10, "name": "cat"}, {"id": 11, "name": "dog"}]
    images = [{"id": 3, "file_name": "a.png", "height": 12, "width": 16}, {"id": 4, "file_name": "b.png"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "train/_annotations.coco.json").write_text(json.dumps(content))
    made = convert(root, tmp_path / "out")
    assert made.classes.names == ("background", "cat", "dog")
    assert _labels(tmp_path / "out") == [_truth().tolist(), None]  # b has no annotation, and stays without a mask


def test_yolo_polygons_get_masks(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _image(root / "train/images/a.png")
    (root / "dataset.yaml").write_text("names: [background, cat, dog]\n")
    lines = [
        f"{label} {' '.join(str(value / SIZE[1 - at % 2]) for at, value in enumerate(_box(place)))}"
        for label, place in enumerate((CAT, DOG))
    ]
    (root / "train/labels").mkdir()
    (root / "train/labels/a.txt").write_text("\n".join(lines))
    assert "fewmask convert" in next(problem.fix for problem in examine(root).problems if problem.level == "error")
    convert(root, tmp_path / "out")
    assert _labels(tmp_path / "out") == [_truth().tolist()]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train/masks/a_owl.png": CAT, "train/masks/a_cat.png": CAT},
            r"a_owl\.png: the name .* says no class",
        ),
        ({"train/masks/z_cat.png": CAT}, r"z_cat\.png: the mask has no image"),
        ({"train/labels/a.txt": "0 0.5 0.5 0.1 0.1"}, r"a\.txt: line 1 is a box"),
        ({"train/labels/a.txt": "7 0 0 1 0 1 1"}, r"line 1 names class 7"),
        ({"train/masks/instances.json": '{"images": 3}'}, "no lists of images"),
        ({"train/masks/instances.json": '{"images": [], "annotations": [], "categories": []}'}, "lists no images"),
        (
            {"x.json": '{"images": [{"file_name": "q.png"}], "annotations": [], "categories": []}'},
            r"q\.png is not in the data",
        ),
    ],
)
def test_labels_that_cannot_be_converted_are_named_and_nothing_is_written(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    root = tmp_path / "data"
    _image(root / "train/images/a.png")
    (root / "dataset.yaml").write_text("names: [ground, cat, dog]\n")
    for file, content in files.items():
        if isinstance(content, str):
            (root / file).parent.mkdir(exist_ok=True)
            (root / file).write_text(content)
        else:
            _area(root / file, content)
    with pytest.raises(UserError, match=message):
        convert(root, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_folder_that_exists_is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it exists already"):
        convert(tmp_path, tmp_path)
