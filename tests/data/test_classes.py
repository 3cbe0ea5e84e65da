"""What the numbers and colors in masks mean."""

import errno
import os
from pathlib import Path

import pytest

from fewmask.data.classes import MAX_CLASSES, Classes, default_palette, read_classes, write_classes
from fewmask.errors import UserError

CAMVID = Path(__file__).parents[2].parent / "shared" / "data" / "camvid"
RGB = "names: [a, b]\nencoding: rgb\ncolors: [[1, 1, 1], [2, 2, 2]]\n"


def _yaml(root: Path, text: str) -> Classes:
    (root / "dataset.yaml").write_text(text)
    return read_classes(root)


def _text(root: Path, text: str) -> Classes:
    (root / "classes.txt").write_text(text)
    return read_classes(root)


def _denied(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_one_line_of_yaml_is_enough(tmp_path: Path) -> None:
    classes = _yaml(tmp_path, "names: [background, cat, dog]\n")
    assert len(classes) == 3
    assert classes.values == (0, 1, 2)
    assert classes.ignore == (255,)
    assert classes.encoding == "index"


def test_the_background_is_the_class_of_that_name(tmp_path: Path) -> None:
    assert _yaml(tmp_path, "names: [sky, Background, cat]\n").background == 1
    assert _yaml(tmp_path, "names: [_background_, cat]\n").background == 0
    assert _yaml(tmp_path, "names: [sky, cat]\n").background is None


def test_yaml_names_may_map_values_to_names(tmp_path: Path) -> None:
    classes = _yaml(tmp_path, "names: {7: road, 8: sidewalk}\nignore: 3\n")
    assert classes.names == ("road", "sidewalk")
    assert classes.values == (7, 8)
    assert classes.ignore == (3, 255)


def test_binary_masks_hold_0_and_255_and_ignore_nothing(tmp_path: Path) -> None:
    classes = _yaml(tmp_path, "names: [background, cat]\nencoding: binary\n")
    assert classes.values == (0, 255)
    assert classes.ignore == ()


def test_255_is_ignored_unless_a_class_has_it(tmp_path: Path) -> None:
    assert _yaml(tmp_path, "names: [a, b, c]\nvalues: [0, 127, 255]\nignore: 3\n").ignore == (3,)
    assert _yaml(tmp_path, "names: {0: a, 127: b}\n").ignore == (255,)
    assert _yaml(tmp_path, "names: [a, b]\nencoding: instances\n").ignore == ()


def test_classes_txt_may_hold_bare_names(tmp_path: Path) -> None:
    classes = _text(tmp_path, "# of a tool\nbackground\nvoid\ntraffic light\n")
    assert classes.names == ("background", "traffic light")
    assert (classes.values, classes.ignore) == ((0, 2), (1, 255))


def test_void_line_of_classes_txt_is_ignored_and_no_class(tmp_path: Path) -> None:
    classes = _text(tmp_path, "# value name\n0 Sky 1 2 3\n5 traffic light 9 9 9\n\n2 VOID 0 0 0\n")
    assert classes.names == ("Sky", "traffic light")
    assert classes.values == (0, 5)
    assert classes.colors == ((1, 2, 3), (9, 9, 9))
    assert classes.ignore == (2, 255)
    assert classes.ignore_colors == ((0, 0, 0),)


def test_classes_txt_needs_no_colors(tmp_path: Path) -> None:
    classes = _text(tmp_path, "0 background\n1 class 1\n")
    assert classes.names == ("background", "class 1")
    assert classes.colors == default_palette(2)


def test_two_lines_of_values_0_and_255_mean_binary_masks(tmp_path: Path) -> None:
    assert _text(tmp_path, "0 background\n255 cat\n").encoding == "binary"


def test_yaml_without_names_completes_classes_txt(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0 background 0 0 0\n1 cat 255 0 0\n")
    assert _yaml(tmp_path, "encoding: rgb\n").colors == ((0, 0, 0), (255, 0, 0))
    assert _yaml(tmp_path, "encoding: binary\n").values == (0, 255)


@pytest.mark.parametrize(
    "classes",
    [
        Classes(names=("yes", "no", "Bäume"), values=(4, 2, 9), ignore=(7,)),
        Classes(names=("background", "cat"), encoding="binary", ignore=(128,)),
        Classes(names=("a", "b"), encoding="rgb", colors=((1, 2, 3), (4, 5, 6)), ignore_colors=((0, 0, 0),)),
        Classes(
            names=("a", "b"), encoding="rgb", colors=((1, 2, 3), (4, 5, 6)), more_colors=((), ((7, 8, 9), (0, 0, 0)))
        ),
    ],
)
def test_written_classes_are_read_back_the_same(tmp_path: Path, classes: Classes) -> None:
    write_classes(classes, tmp_path / "new")
    assert read_classes(tmp_path / "new") == classes
    write_classes(classes, tmp_path / "dataset.yaml")
    assert read_classes(tmp_path) == classes


def test_default_palette_is_distinct() -> None:
    assert len(set(default_palette(MAX_CLASSES))) == MAX_CLASSES


def test_folder_without_classes_shows_the_shortest_yaml(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"names: \[background, cat, dog\]"):
        read_classes(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a, b, a]", "'a' is named twice"),
        ("names: [cat]", "Name the background"),
        ("names: [a, b]\nencodin: rgb", r"unknown key 'encodin'.*nearest: encoding"),
        (
            "names: [a, b]\nencoding: gray",
            "`encoding` is 'gray': it should be 'index', 'rgb', 'binary' or 'instances'. Write one of these",
        ),
        ("names: [a, 3]", r"`names.1` is 3: it should be a valid string.*quoting"),
        ("names: [yes, no]", r"`names.0` is True: .*'no'"),
        ("names: a, b", r"`names` is 'a, b': it should be a list"),
        ("names: ['', b]", r"`names.0` is '': it should not be empty"),
        ("names: [b, ' b']", "'b' is named twice"),
        (f"names: {[f'c{index}' for index in range(300)]}", "there are 300 classes.*no more"),
        ("encoding: index", "`names` is missing"),
        ("names: [a, b]\ncolors: ['#ff0000', '#00ff00']", "`colors.0` is '#ff0000': it should be a list.*red, green"),
        ("", "the file is empty"),
        ("names: [a, b]\nvalues: [1]", "`values` has 1 entries for 2 names"),
        ("names: [a, b]\nvalues: [1, 1]", "value 1 is given to two classes"),
        ("names: [a, b]\nvalues: [0, 255]\nignore: 255", "'b' has value 255, which is ignored"),
        ("names: [a, b, c]\nencoding: instances", "two classes, but 3"),
        ("names: [a, b]\nencoding: rgb\ncolors: [[1, 1, 1], [2, 2, 2]]\nchannel: red", "leave out `channel`"),
        ("names: [a, b]\nencoding: binary\npages: classes", "`pages: merge`"),
        ("names: [a, b]\nvalues: [1, 2]\npages: classes", "Leave out `values`"),
        ("names: [a, b]\nchannel: gray", "it should be 'red', 'green', 'blue' or 'alpha'"),
        (
            "path: pets\ntrain: train/images\nnc: 2\nnames: [a, b]",
            "unknown keys 'path', 'train', 'nc'. Take them out and keep `names`. .*names of folders.* number of names",
        ),
        ("names: [a, b]\nnc: 2\nencodin: rgb", r"unknown keys 'nc', 'encodin'.*nearest: encoding"),
        ("names: [a, b]\nignore: [1]", "'b' has value 1, which is ignored"),
        ("names: [a, b]\ncolors: [[0, 0, 0], [1, 1, 999]]", "`colors.1.2`.*999"),
        ("names: [a, b]\nencoding: rgb", "`colors` has 0 entries"),
        ("names: [a, b]\nencoding: rgb\ncolors: [[1, 1, 1], [1, 1, 1]]", r"\(1, 1, 1\) is given twice"),
        (f"{RGB}more_colors: [[[3, 3, 3]]]", "`more_colors` has 1 entries for 2 names"),
        (f"{RGB}more_colors: [[], [[1, 1, 1]]]", r"\(1, 1, 1\) is given twice"),
        ("names: [a, b, c]\nencoding: binary", "two classes, but 3"),
        ("names: [a, b]\nencoding: binary\nvalues: [0, 1]", "encoding binary leaves no choice of values"),
        ("names: [a, b", "line 1"),
        ("- a\n- b", "no list of keys"),
    ],
)
def test_wrong_yaml_names_the_file_and_the_mistake(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        _yaml(tmp_path, text)
    assert caught.value.where == str(tmp_path / "dataset.yaml")
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 background\ncat 1\n", "line 2 is 'cat 1'"),
        ("0 background\n1 cat 128 64\n", "line 2"),
        ("0 background 1 2 3\n1 cat\n", "only 1 of 2 classes have a color"),
        ("0 a\n0 b\n", "value 0 is given to two classes"),
    ],
)
def test_wrong_classes_txt_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _text(tmp_path, text)


def test_yaml_of_another_name_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "data.yml").write_text("names: [a, b]")
    with pytest.raises(UserError, match=r"If data.yml names the classes, call it dataset.yaml"):
        read_classes(tmp_path)


def test_classes_file_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dataset.yaml").write_text("names: [a, b]")
    monkeypatch.setattr(Path, "read_text", _denied)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        read_classes(tmp_path)


def test_classes_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(b"0 caf\xe9\n1 cat")
    with pytest.raises(UserError, match="UTF-8"):
        read_classes(tmp_path)


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside the repository")
def test_camvid_has_11_classes_and_void_is_ignored() -> None:
    classes = read_classes(CAMVID)
    assert len(classes) == 11
    assert classes.names[0] == "Sky"
    assert classes.ignore == (11, 255)


@pytest.mark.parametrize("name", [r"a\e[2Jb", r"a\nb", r"a\u202Eb", r"a\Lb"])
def test_a_class_name_that_could_tell_a_terminal_what_to_do_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text(f'names: [ground, "{name}"]')
    with pytest.raises(UserError, match="holds a control character") as caught:
        read_classes(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("line", [f"{'9' * 5000} road", f"1 road {'9' * 5000} 0 0"])
def test_a_number_without_an_end_is_one_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(f"0 ground\n{line}\n")
    with pytest.raises(UserError, match="line 2 is") as caught:
        read_classes(tmp_path)
    assert len(str(caught.value)) < 1000
