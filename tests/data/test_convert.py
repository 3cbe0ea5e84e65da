"""Several masks an image, and polygons, become one mask an image."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewmask.data.classes import MAX_CLASSES
from fewmask.data.convert import convert
from fewmask.data.convert.convert import _link
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
        ("ground, cat", "train/a/photos/a.png", ("train/a/masks/x.png", "train/a/masks/y.png")),
        ("ground, cat", "train/a/inputs/a.png", ("train/a/labels/x.png", "train/a/labels/y.png")),
        ("ground, cat", "a/images/a.png", ("a/masks/x.png", "a/masks/y.png")),
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


def test_other_folders_beside_an_image_and_its_masks_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = tmp_path / "data/train/a"
    _image(case / "images/a.png")
    _area(case / "contours/x.png", DOG)
    _area(case / "masks/x.png", CAT)
    (tmp_path / "data/dataset.yaml").write_text("names: [ground, cat]\n")
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(listed(path))))  # lists contours first
    convert(tmp_path / "data", tmp_path / "out")
    expected = np.zeros(SIZE, np.uint8)
    expected[CAT] = 1
    assert _labels(tmp_path / "out") == [expected.tolist()]


@pytest.mark.parametrize("split", ["train/", ""])
def test_images_of_one_name_in_folders_of_one_image_keep_their_own_masks(tmp_path: Path, split: str) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    places = {"case_1": CAT, "case_2": DOG}
    for seed, (case, place) in enumerate(places.items()):
        _image(root / f"{split}{case}/images/image.png", seed)
        _area(root / f"{split}{case}/masks/0.png", place)
    (root / "dataset.yaml").write_text("names: [background, cat]\n")
    convert(root, out)
    for case, place in places.items():
        written = (out / f"train/images/{case}/images/image.png").read_bytes()
        assert written == (root / f"{split}{case}/images/image.png").read_bytes()
        expected = np.zeros(SIZE, np.uint8)
        expected[place] = 1
        assert np.asarray(Image.open(out / f"train/masks/{case}/images/image.png")).tolist() == expected.tolist()


def test_images_beside_folders_of_one_image_are_not_lost(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _image(root / "train/a/images/a.png")
    _area(root / "train/a/masks/0.png", CAT)
    _image(root / "train/b/images/b.png", seed=1)  # has no masks
    _image(root / "val/images/c.png", seed=2)
    _area(root / "val/masks/c.png", DOG)
    (root / "dataset.yaml").write_text("names: [background, cat]\n")
    made = convert(root, tmp_path / "out")
    assert (made.num_images, made.num_masks) == (3, 2)
    folder = read_folder(tmp_path / "out")
    assert [(one.name, one.mask is None) for one in (*folder.train, *folder.val)] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]


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


def _coco(path: Path, files: dict[str, Any]) -> None:
    """Writes a COCO file in which each image holds one cat, at the given place."""
    segments = list(enumerate(files.values()))
    content = {
        "images": [{"id": number, "file_name": file} for number, file in enumerate(files)],
        "annotations": [{"image_id": at, "category_id": 1, "segmentation": [_box(place)]} for at, place in segments],
        "categories": [{"id": 1, "name": "cat"}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("image", "file", "labels"),
    [
        ("{}/0.png", "0.png", "{}/_annotations.coco.json"),  # beside the file
        ("{}/images/0.png", "0.png", "annotations/instances_{}2017.json"),  # in the folder of the split
        ("images/{}/day/0.png", "0.png", "annotations/instances_{}2017.json"),
        ("{}/images/0.png", "images/0.png", "annotations/{}.json"),
        ("{}2017/0.png", "{}2017/0.png", "annotations/{}.json"),  # in the folder that the file names
        ("pictures/{}2017/0.png", "{}2017/0.png", "annotations/{}.json"),
    ],
)
def test_coco_images_of_one_name_keep_their_own_masks(tmp_path: Path, image: str, file: str, labels: str) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    places = {"train": CAT, "val": DOG}
    for seed, (split, place) in enumerate(places.items()):
        _image(root / image.format(split), seed)
        _coco(root / labels.format(split), {file.format(split): place})
    convert(root, out)
    for split, place in places.items():
        assert (out / split / "images/0.png").read_bytes() == (root / image.format(split)).read_bytes()
        expected = np.zeros(SIZE, np.uint8)
        expected[place] = 1
        assert np.asarray(Image.open(out / split / "masks/0.png")).tolist() == expected.tolist()


def test_a_coco_image_that_may_be_any_of_several_is_refused(tmp_path: Path) -> None:
    for seed, folder in enumerate(("monday", "tuesday")):
        _image(tmp_path / "data" / folder / "0.png", seed)
    _coco(tmp_path / "data/instances.json", {"0.png": CAT})
    expected = r"instances\.json: the image 0\.png may be any of 2, such as monday/0\.png or tuesday/0\.png.*Write"
    with pytest.raises(UserError, match=expected):
        convert(tmp_path / "data", tmp_path / "out")


def test_coco_images_of_one_name_in_a_split_do_not_overwrite_each_other(tmp_path: Path) -> None:
    files = [tmp_path / "data" / folder / "0.png" for folder in ("monday", "tuesday")]
    for seed, file in enumerate(files):
        _image(file, seed)
    before = [file.read_bytes() for file in files]
    _coco(tmp_path / "data/instances.json", {"monday/0.png": CAT, "tuesday/0.png": DOG})
    convert(tmp_path / "data", tmp_path / "out")
    assert [file.read_bytes() for file in files] == before
    written = [tmp_path / "out/train/images" / folder / "0.png" for folder in ("monday", "tuesday")]
    assert [file.read_bytes() for file in written] == before
    assert [np.count_nonzero(labels) for labels in _labels(tmp_path / "out")] == [20, 60]


@pytest.mark.parametrize(
    ("labels", "folders"),
    [("instances_trainval", ("train", "val")), ("instances_train", ("train/monday", "train/tuesday"))],
)
def test_coco_images_of_one_name_get_names_that_are_read(tmp_path: Path, labels: str, folders: tuple[str, str]) -> None:
    for seed, folder in enumerate(folders):
        _image(tmp_path / "data" / folder / "0.png", seed)
    files = {f"{folder}/0.png": place for folder, place in zip(folders, (CAT, DOG), strict=True)}
    _coco(tmp_path / f"data/annotations/{labels}.json", files)
    convert(tmp_path / "data", tmp_path / "out")
    assert [np.count_nonzero(labels) for labels in _labels(tmp_path / "out")] == [20, 60]


def test_a_coco_image_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    _image(tmp_path / "data/images/0.png")
    for name in ("train", "trainval"):
        _coco(tmp_path / f"data/annotations/instances_{name}.json", {"0.png": CAT})
    with pytest.raises(UserError, match=r"0\.png: COCO files list the image twice"):
        convert(tmp_path / "data", tmp_path / "out")


def test_a_coco_image_of_two_splits_is_refused(tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        _image(tmp_path / "data/images" / name)
    _coco(tmp_path / "data/annotations/instances_trainval.json", {"0.png": CAT, "1.png": DOG})
    _coco(tmp_path / "data/annotations/instances_val.json", {"1.png": DOG})
    expected = r"1\.png: COCO files list the image for (train and for val|val and for train)\. Keep one"
    with pytest.raises(UserError, match=expected):
        convert(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "split"),
    [
        ("annotations/instances_train2017.json", "train"),
        ("annotations/instances_val2017.json", "val"),
        ("annotations/instances_Test.json", "test"),
        ("annotations/instances_trainval.json", "train"),
        ("annotations/latest_export_coco.json", "train"),
        ("validation/_annotations.coco.json", "val"),
        ("test_site/instances_train.json", "train"),
    ],
)
def test_the_split_of_a_coco_file_is_a_whole_word_of_its_path(tmp_path: Path, labels: str, split: str) -> None:
    _image(tmp_path / "data/images/0.png")
    _coco(tmp_path / "data" / labels, {"0.png": CAT})
    convert(tmp_path / "data", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == [split]


@pytest.mark.parametrize("category", [{"id": 1}, {"id": 1, "name": None}, {"id": 1, "name": " "}])
def test_a_coco_category_without_a_name_is_refused(tmp_path: Path, category: dict[str, Any]) -> None:
    _image(tmp_path / "data/train/0.png")
    file = tmp_path / "data/train/_annotations.coco.json"
    _coco(file, {"0.png": CAT})
    file.write_text(json.dumps({**json.loads(file.read_text()), "categories": [category]}))
    with pytest.raises(UserError, match=r"coco\.json: the category 1 has no name"):
        convert(tmp_path / "data", tmp_path / "out")


def _yolo(label: int, place: Any) -> str:
    """A line of YOLO: the class and the corners of its polygon."""
    return f"{label} {' '.join(str(value / SIZE[1 - at % 2]) for at, value in enumerate(_box(place)))}"


@pytest.mark.parametrize("between", ["\n", "\n \n\n"])
def test_yolo_polygons_get_masks(tmp_path: Path, between: str) -> None:
    root = tmp_path / "data"
    _image(root / "train/images/a.png")
    (root / "dataset.yaml").write_text("names: [background, cat, dog]\n")
    lines = [_yolo(label, place) for label, place in enumerate((CAT, DOG))]
    (root / "train/labels").mkdir()
    (root / "train/labels/a.txt").write_text(between.join([*lines, ""]))
    assert "fewmask convert" in next(problem.fix for problem in examine(root).problems if problem.level == "error")
    convert(root, tmp_path / "out")
    assert _labels(tmp_path / "out") == [_truth().tolist()]


def _cat_and_dog(root: Path, kind: str, first: int) -> None:
    """Writes an image and its labels in one of three forms; in the text of YOLO, cat has the number `first`."""
    _image(root / "train/images/a.png")
    if kind == "masks":
        _area(root / "train/masks/a_cat.png", CAT)
        _area(root / "train/masks/a_dog.png", DOG)
    elif kind == "YOLO":
        (root / "train/labels").mkdir()
        lines = [_yolo(label, place) for label, place in enumerate((CAT, DOG), start=first)]
        (root / "train/labels/a.txt").write_text("\n".join(lines))
    else:
        annotations = [
            {"image_id": 0, "category_id": number, "segmentation": [_box(place)]}
            for number, place in enumerate((CAT, DOG))
        ]
        categories = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
        content = {"images": [{"id": 0, "file_name": "a.png"}], "annotations": annotations, "categories": categories}
        (root / "train/images/_annotations.coco.json").write_text(json.dumps(content))


ADDED, GROUND = "background, a class that was added; --ignore-rest ignores them", "ground, the first class, because"


@pytest.mark.parametrize(
    ("kind", "classes", "ignore_rest", "names", "rest", "told"),
    [
        ("masks", "cat\ndog", False, "background cat dog", 0, ADDED),
        ("YOLO", "cat\ndog", False, "background cat dog", 0, ADDED),
        ("COCO", "cat\ndog", False, "background cat dog", 0, ADDED),
        ("masks", "cat\nbackground\ndog", False, "cat background dog", 1, "background."),
        ("YOLO", "_background_\ncat\ndog", False, "_background_ cat dog", 0, "_background_."),
        ("COCO", "", False, "background cat dog", 0, "background."),
        ("masks", "ground\ncat\ndog", False, "ground cat dog", 0, GROUND),
        ("COCO", "ground\ncat\ndog", False, "ground cat dog", 0, GROUND),
        ("YOLO", "bird\ncat\ndog", False, "background bird cat dog", 0, ADDED),  # a class that is not labeled yet
        ("masks", "0 void\n1 cat\n2 dog", False, "cat dog", 255, "ignored."),
        ("YOLO", "cat\ndog", True, "cat dog", 255, "ignored."),
        ("COCO", "", True, "cat dog", 255, "ignored."),
    ],
)
def test_pixels_without_a_label_are_no_class_that_has_labels(
    tmp_path: Path, kind: str, classes: str, ignore_rest: bool, names: str, rest: int, told: str
) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    _cat_and_dog(root, kind, first=int(classes.startswith("bird")))
    if classes:
        (root / "classes.txt").write_text(classes)
    made = convert(root, out, ignore_rest=ignore_rest)
    assert made.classes.names == tuple(names.split())
    assert made.told.startswith(f"No label covers 59.4 % of the pixels of labeled images. They are {told}")
    expected = np.full(SIZE, rest, np.uint8)
    expected[DOG], expected[CAT] = made.classes.names.index("dog"), made.classes.names.index("cat")
    assert _labels(out) == [expected.tolist()]


def test_no_class_is_added_where_labels_cover_every_pixel(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _cat_and_dog(root, "masks", first=0)
    _area(root / "train/masks/a_dog.png", slice(None))
    (root / "dataset.yaml").write_text("names: [cat, dog]\n")
    made = convert(root, tmp_path / "out")
    assert (made.classes.names, made.told) == (("cat", "dog"), "")


def test_as_many_classes_as_there_can_be_leave_no_room_for_a_background(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _cat_and_dog(root, "masks", first=0)
    names = ["cat", "dog", *(f"class{number}" for number in range(MAX_CLASSES - 2))]
    (root / "classes.txt").write_text("\n".join(names))
    with pytest.raises(UserError, match=r"254 classes, and no room for a background.*--ignore-rest"):
        convert(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert convert(root, tmp_path / "out", ignore_rest=True).classes.names == tuple(names)


def test_a_class_whose_masks_are_empty_is_not_the_background(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _cat_and_dog(root, "masks", first=0)
    _area(root / "train/masks/a_cat.png", slice(0))
    (root / "dataset.yaml").write_text("names: [cat, dog]\n")
    assert convert(root, tmp_path / "out").classes.names == ("background", "cat", "dog")


def test_an_image_without_a_labeled_pixel_has_no_mask_if_the_rest_is_ignored(tmp_path: Path) -> None:
    root = tmp_path / "data"
    _cat_and_dog(root, "YOLO", first=0)
    _image(root / "train/images/b.png", seed=1)
    (root / "train/labels/b.txt").touch()
    (root / "dataset.yaml").write_text("names: [cat, dog]\n")
    assert [convert(root, tmp_path / str(rest), ignore_rest=rest).num_masks for rest in (False, True)] == [2, 1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train/masks/a_owl.png": CAT, "train/masks/a_cat.png": CAT},
            r"a_owl\.png: the name .* says no class",
        ),
        ({"train/masks/a.png": CAT}, r"a\.png: the mask has the name of its image.* the data needs no conversion"),
        ({"train/masks/z_cat.png": CAT}, r"z_cat\.png: the mask has no image"),
        ({"train/labels/a.txt": "0 0.5 0.5 0.1 0.1"}, r"a\.txt: line 1 is a box"),
        ({"train/labels/a.txt": "7 0 0 1 0 1 1"}, r"line 1 names class 7"),
        (
            {"train/labels/a.txt": "0 0 0 1 0 1 1 # caf\u00e9".encode("latin-1")},
            r"a\.txt: the file is not text in UTF-8",
        ),
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
        if isinstance(content, str | bytes):
            (root / file).parent.mkdir(exist_ok=True)
            (root / file).write_bytes(content.encode() if isinstance(content, str) else content)
        else:
            _area(root / file, content)
    with pytest.raises(UserError, match=message):
        convert(root, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_folder_that_exists_is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it exists already"):
        convert(tmp_path, tmp_path)


def test_two_images_of_one_name_end_in_one_line_and_the_originals_stay(tmp_path: Path) -> None:
    first, second, target = tmp_path / "1" / "a.png", tmp_path / "2" / "a.png", tmp_path / "out" / "a.png"
    for image, content in ((first, b"first"), (second, b"second")):
        image.parent.mkdir()
        image.write_bytes(content)
    _link(first, target)
    with pytest.raises(UserError, match=r"another image has the name a\.png too"):
        _link(second, target)
    assert first.read_bytes() == b"first"
