"""Which train images count as labeled."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.folder import Folder, Sample, read_folder
from fewmask.data.lists import list_summary, listed_names
from fewmask.data.masks import read_mask
from fewmask.data.partition import COMMON_IMAGES, draw_partition
from fewmask.errors import UserError

CAMVID = Path(__file__).parents[2].parent / "shared" / "data" / "camvid"
COMMON = 1


def mask_of(sample: Sample) -> Path:
    """The mask of an image that has one."""
    assert sample.mask is not None
    return sample.mask


def _folder(
    root: Path, num_masks: int = 40, num_without: int = 3, classes_of: dict[int, list[int]] | None = None
) -> Folder:
    """Masks of background, with further classes at some positions; images are never opened, so they need not exist."""
    samples = []
    for index in range(num_masks):
        mask = root / f"img_{index:02}.png"
        Image.fromarray(np.array([[0, *(classes_of or {}).get(index, [])]], dtype=np.uint8)).save(mask)
        samples.append(Sample(mask.stem, root / f"img_{index:02}.jpg", mask))
    samples += [Sample(f"plain_{index}", root / f"plain_{index}.jpg", None) for index in range(num_without)]
    extra = (Sample("extra", root / "extra.jpg", None),)
    classes = Classes(names=("background", "common", "second", "third"))
    return Folder(root, classes, tuple(samples), extra, (), ())


def _names(folder: Folder, labels: str | int | None, split_seed: int = 0) -> list[str]:
    return [sample.name for sample in draw_partition(folder, labels, split_seed).labeled]


@pytest.mark.parametrize("labels", [None, "all", "40", 40, "1/1", "1.0"])
def test_every_mask_is_labeled_by_default(tmp_path: Path, labels: str | int | None) -> None:
    partition = draw_partition(_folder(tmp_path), labels, 0)
    assert len(partition.labeled) == 40
    assert [path.name for path in partition.unlabeled] == ["plain_0.jpg", "plain_1.jpg", "plain_2.jpg", "extra.jpg"]


@pytest.mark.parametrize(
    ("labels", "count"), [("1/30", 1), ("1/16", 3), ("1/17", 2), ("0.5", 20), ("1/100", 1), ("7", 7), (7, 7)]
)
def test_share_is_of_the_masks_rounded_half_up_and_at_least_one(
    tmp_path: Path, labels: str | int | None, count: int
) -> None:
    assert len(_names(_folder(tmp_path), labels)) == count


def test_hidden_masks_join_the_unlabeled_pool_as_images_alone(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    partition = draw_partition(folder, 10, 0)
    assert len(partition.unlabeled) == 30 + 3 + 1
    assert all(path.suffix == ".jpg" for path in partition.unlabeled)
    assert not {sample.image for sample in partition.labeled} & set(partition.unlabeled)


def test_draw_depends_on_the_seed_alone(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert _names(folder, 8, 3) == _names(folder, "8", 3) == sorted(_names(folder, 8, 3))
    assert len({tuple(_names(folder, 8, seed)) for seed in range(5)}) == 5


def test_draw_is_the_same_for_ever(tmp_path: Path) -> None:
    assert _names(_folder(tmp_path), 4, 0) == ["img_08", "img_19", "img_23", "img_25"]


def test_new_images_do_not_reshuffle_the_draw(tmp_path: Path) -> None:
    before = set(_names(_folder(tmp_path, num_masks=30), 10))
    after = set(_names(_folder(tmp_path, num_masks=33), 10))
    assert len(before & after) >= 7


@pytest.mark.parametrize("split_seed", range(10))
def test_a_class_of_five_images_is_in_every_draw(tmp_path: Path, split_seed: int) -> None:
    folder = _folder(tmp_path, classes_of={index: [COMMON] for index in range(COMMON_IMAGES)})
    held = [
        read_mask(mask_of(sample), folder.classes) == COMMON for sample in draw_partition(folder, 2, split_seed).labeled
    ]
    assert any(mask.any() for mask in held)
    assert len(held) == 2


def test_a_class_of_four_images_may_be_missing(tmp_path: Path) -> None:
    folder = _folder(tmp_path, classes_of={index: [COMMON] for index in range(COMMON_IMAGES - 1)})
    first_four = {f"img_{index:02}" for index in range(COMMON_IMAGES - 1)}
    assert any(not first_four & set(_names(folder, 2, seed)) for seed in range(10))


def test_exchange_never_gives_up_a_class_that_is_held(tmp_path: Path) -> None:
    classes_of = {index: [1 + index // COMMON_IMAGES] for index in range(3 * COMMON_IMAGES)}  # each in five images
    folder = _folder(tmp_path, classes_of=classes_of)
    for split_seed in range(10):
        labels = [
            read_mask(mask_of(sample), folder.classes) for sample in draw_partition(folder, 3, split_seed).labeled
        ]
        assert {value for label in labels for value in label.unique().tolist()} == {0, 1, 2, 3}


def test_too_few_images_for_all_classes_keep_their_number(tmp_path: Path) -> None:
    classes_of = {index: [1 + index // COMMON_IMAGES] for index in range(3 * COMMON_IMAGES)}
    assert len(_names(_folder(tmp_path, classes_of=classes_of), 2)) == 2


@pytest.mark.parametrize(
    "line",
    [
        "img_07",
        "img_07.jpg",
        "JPEGImages/img_07.jpg SegmentationClass/img_07.png",
        "a\\b\\img_07.png",
        "img_07 # the best",
        "img_07 # better than img_01.jpg",
        "img_07 SegmentationClass/seven.png",
        "img_07 img_07_mask.png",
        "img_07\tseven.png",
        "img_07 -1",
    ],
)
def test_published_lists_are_understood(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"# ours\n\n{line}\nimg_01\nimg_07\n")
    assert _names(_folder(tmp_path), str(tmp_path / "list.txt")) == ["img_01", "img_07"]


@pytest.mark.parametrize(
    "line",
    [
        "aachen_000000_000019",
        "aachen_000000_000019.png",
        "aachen_000000_000019_leftImg8bit",
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png gtFine/train/aachen/aachen_000000_000019_x.png",
        "image/aachen_000000_000019_leftImg8bit.png\tlabel/aachen_000000_000019_gtFine.png",
    ],
)
def test_listed_images_are_known_by_their_name_or_their_file(tmp_path: Path, line: str) -> None:
    folder = _folder(tmp_path, num_masks=2)
    image = Path("leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png")
    train = (folder.train[0]._replace(name="aachen_000000_000019", image=image), folder.train[1])
    (tmp_path / "list.txt").write_text(f"{line}\n")
    cities = Folder(tmp_path, folder.classes, train, (), (), ())
    assert _names(cities, str(tmp_path / "list.txt")) == ["aachen_000000_000019"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("#3 cat", "#3 cat"),
        ("my cat 1", "train/images/my cat 1.jpg train/masks/my cat 1.png"),
        ("six", "train/images/six.jpg,train/masks/six.png"),
        ("monday/img_00", "train\\images\\monday\\img_00.jpg"),
        ("caf\u00e9", "cafe\u0301.jpg"),
    ],
)
def test_a_line_is_first_taken_as_a_whole(tmp_path: Path, name: str, line: str) -> None:
    folder = _folder(tmp_path, num_masks=2)
    train = (folder.train[0]._replace(name=name), folder.train[1]._replace(name="other/img_00"))
    path = tmp_path / "list.txt"
    path.write_text(f"{line}\n# 1 of 2\n")
    assert _names(Folder(tmp_path, folder.classes, train, (), (), ()), str(path)) == [name]
    assert list_summary(path, train) == f"{path}: 1 image, 1 comment"


@pytest.mark.parametrize("line", ["images/my photo#1.v2.jpg # the best", "my photo#1.v2"])
def test_listed_names_may_hold_spaces_dots_and_hashes(tmp_path: Path, line: str) -> None:
    folder = _folder(tmp_path, num_masks=2)
    first, second = folder.train[:2]
    train = (first._replace(name="my photo#1.v2"), second)
    (tmp_path / "list.txt").write_text(f"{line}\n")
    named = Folder(tmp_path, folder.classes, train, (), (), ())
    assert _names(named, str(tmp_path / "list.txt")) == ["my photo#1.v2"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (41, "41 labels are asked for, but 40 train images have masks"),
        (0, "0 labels are asked for"),
        ("-3", "-3 labels are asked for"),
        ("3/2", "share of 3/2 is not above 0 and at most 1"),
        ("0/5", "share of 0/5"),
        ("1/0", "share of 1/0"),
        (
            "few",
            r"'few' is no share, no number and no file\. Write a share \(1/30\), a number \(12\), `all`, or a text",
        ),
    ],
)
def test_impossible_numbers_are_refused(tmp_path: Path, labels: str | int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_partition(_folder(tmp_path), labels, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"img_01\nimg_o2\nplain_0\nx\ny\n",
            r"line 2, 'img_o2', is no train image with a mask \(like 3 of the other 4 lines\).*nearest: img_\d2",
        ),
        (
            b"# ours\n\nimg_01\n/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n",
            r"line 4, '/JPEGImages/2007_000032\.jpg /Seg.*2007_000032\.png', is no train image with a mask\. Correct",
        ),
        (b"img_07\nimg_01 (2).jpg\n", r"line 2, 'img_01 \(2\)\.jpg', is no train image"),
        (b"img_01 (2)\n", r"line 1, 'img_01 \(2\)', is no train image"),
        (b"images/img_01 - copy.PNG masks/img_01 - copy.png\n", r"line 1, 'images/img_01 - copy.* is no train image"),
        (b"# nothing\n\n", "list of images is empty"),
        (b"\xff\xd8\xff", "not UTF-8"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "list.txt").write_bytes(text)
    with pytest.raises(UserError, match=message):
        draw_partition(_folder(tmp_path), str(tmp_path / "list.txt"), 0)


def test_a_list_for_a_split_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("img_01\n")
    with pytest.raises(UserError, match="there is no val image that a list could name"):
        listed_names(tmp_path / "list.txt", [], "val image")


def test_dataset_without_masks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no train image has a mask"):
        draw_partition(_folder(tmp_path, num_masks=0), None, 0)


@pytest.mark.slow
@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside the repository")
def test_camvid_share_of_one_in_thirty_keeps_every_class() -> None:
    folder = read_folder(CAMVID)
    for split_seed in range(3):
        partition = draw_partition(folder, "1/30", split_seed)
        held = {
            value
            for sample in partition.labeled
            for value in read_mask(mask_of(sample), folder.classes).unique().tolist()
        }
        assert len(partition.labeled) == 12
        assert len(partition.unlabeled) == 355
        assert held - {255} == set(range(11))
