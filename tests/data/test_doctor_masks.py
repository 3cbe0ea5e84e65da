"""The doctor compares all masks, and what it advises works: every line for dataset.yaml is followed and looked at."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from fewmask.data.doctor import Diagnosis, Problem, examine

HEIGHT, WIDTH = 24, 32
VOC = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)], np.uint8)
TWO, THREE, FOUR = ("ground", "cat"), ("ground", "cat", "dog"), ("ground", "cat", "dog", "owl")
Draw = Callable[[np.ndarray, int], Image.Image | tuple[Image.Image, dict[str, Any]]]


def labels_of(seed: int, num_classes: int) -> np.ndarray:
    """[HEIGHT WIDTH] labels: a box of each class on the ground, each at its own place."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label in range(1, num_classes):
        top, left = generator.integers(0, HEIGHT - 8), (label - 1) * (WIDTH // (num_classes - 1))
        labels[top : top + 8, left : left + 5 + 2 * label] = label
    return labels


def palette_image(codes: np.ndarray, colors: np.ndarray) -> Image.Image:
    picture = Image.frombytes("P", codes.shape[::-1], codes.astype(np.uint8).tobytes())
    picture.putpalette(np.resize(colors, (256, 3)).ravel().tolist() if len(colors) == 256 else _filled(colors))
    return picture


def _filled(colors: np.ndarray) -> list[int]:
    return [*colors.ravel().tolist(), *[7] * (768 - colors.size)]


def make(root: Path, names: tuple[str, ...], draw: Draw, extra: str = "", num: int = 6) -> Path:
    """Six labeled train images of noise and two of val, whose masks `draw` makes of labels and of a number."""
    (root / "dataset.yaml").write_text(f"names: [{', '.join(names)}]\n{extra}")
    for index in range(num + 2):
        split = "train" if index < num else "val"
        for part in ("images", "masks"):
            (root / split / part).mkdir(parents=True, exist_ok=True)
        labels = labels_of(index, len(names))
        noise = np.random.default_rng(index).integers(-20, 20, (HEIGHT, WIDTH, 3))
        pixels = np.clip(VOC[labels].astype(int) + 60 + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / split / "images" / f"{index}.png")
        drawn = draw(labels, index)
        picture, options = drawn if isinstance(drawn, tuple) else (drawn, {})
        picture.save(root / split / "masks" / f"{index}.{'tif' if options else 'png'}", **options)
    return root


def truth(num_classes: int, num: int = 6) -> list[float]:
    """The share of each class in the train masks of `make`."""
    labels = np.stack([labels_of(index, num_classes) for index in range(num)])
    return [float((labels == label).mean()) for label in range(num_classes)]


def errors(diagnosis: Diagnosis) -> list[Problem]:
    return [problem for problem in diagnosis.problems if problem.level == "error"]


def follow(root: Path, fix: str, names: tuple[str, ...]) -> None:
    """Writes the dataset.yaml that the advice leads to."""
    before = yaml.safe_load((root / "dataset.yaml").read_text())
    told = fix.partition("The masks then hold")[0]
    fields = {**before, "names": list(names)}
    for line in re.findall(r"`(\w+: [^`]+)`", told):
        fields |= yaml.safe_load(line)
    for key in re.findall(r"`(\w+)`", told):
        fields.pop(key)
    (root / "dataset.yaml").write_text(yaml.safe_dump(fields))


def _alpha(color: int, mode: str) -> Draw:
    def draw(labels: np.ndarray, _: int) -> Image.Image:
        flat = Image.new(mode.removesuffix("A"), (WIDTH, HEIGHT), (color,) * 3 if mode == "RGBA" else color)
        flat.putalpha(Image.fromarray((labels > 0).astype(np.uint8) * 255))
        return flat

    return draw


def _gray(levels: list[int]) -> Draw:
    return lambda labels, _: Image.fromarray(np.array(levels, np.uint8)[labels])


def _pages(values: tuple[int, int]) -> Draw:
    def draw(labels: np.ndarray, _: int) -> tuple[Image.Image, dict[str, Any]]:
        pages = [Image.fromarray((labels == page + 1).astype(np.uint8) * value) for page, value in enumerate(values)]
        return pages[0], {"save_all": True, "append_images": pages[1:]}

    return draw


def _min_is_white(labels: np.ndarray, _: int) -> tuple[Image.Image, dict[str, Any]]:
    return Image.fromarray(255 - labels), {"tiffinfo": {262: 0}}  # Pillow turns the levels around when it saves


def _objects(labels: np.ndarray, index: int) -> Image.Image:
    rows, columns = np.indices(labels.shape) // 6
    numbers = rows * 8 + columns + 1 + index
    return Image.fromarray(np.where(labels > 0, numbers, 0).astype(np.uint16))


def _one_object_each(labels: np.ndarray, index: int) -> Image.Image:
    return Image.fromarray(np.array([0, 38, 75], np.uint8)[np.where(labels == 1 + index % 2, labels, 0)])


def _own_palette(labels: np.ndarray, index: int) -> Image.Image:
    colors = np.array([(0, 0, 0), (230, 30, 30), (40, 60, 220)], np.uint8)
    order = [[0, 1, 2], [2, 1, 0], [1, 0, 2]][index % 3]
    return palette_image(np.argsort(order)[labels], colors[order])


_COLORS = "encoding: rgb\ncolors: [[0, 0, 0], [220, 40, 20], [10, 90, 200]]\n"
_SWAPPED = np.array([(0, 0, 0), (20, 40, 220), (200, 90, 10)], np.uint8)


@pytest.mark.parametrize(
    ("names", "draw", "extra", "line"),
    [
        (TWO, _alpha(0, "RGBA"), "", "`encoding: binary` and `channel: alpha`"),
        (TWO, _alpha(255, "RGBA"), "", "`encoding: binary` and `channel: alpha`"),
        (TWO, _alpha(255, "RGBA"), "encoding: binary\n", "`channel: alpha`"),
        (TWO, _alpha(255, "LA"), "encoding: binary\n", "`channel: alpha`"),
        (TWO, _gray([0, 255]), "", "`encoding: binary`"),
        (TWO, _gray([0, 1]), "encoding: binary\n", "`encoding: index`"),
        (TWO, _gray([0, 200]), "", "`values: [0, 200]`"),
        (THREE, _gray([0, 127, 255]), "", "`values: [0, 127, 255]`"),
        (THREE, _gray([0, 127, 255]), "ignore: [127]\n", "`values: [0, 127, 255]` and take out `ignore`"),
        (FOUR, _gray([0, 85, 170, 255]), "", "`values: [0, 85, 170, 255]`"),
        (FOUR, _gray([0, 38, 75, 113]), "", "`values: [0, 38, 75, 113]`"),
        (THREE, _gray([1, 2, 3]), "", "`values: [1, 2, 3]`"),
        (TWO, lambda labels, _: palette_image(labels, VOC), "encoding: binary\n", "`encoding: index`"),
        (TWO, lambda labels, _: palette_image(labels, VOC), "encoding: binary\nignore: [38]\n", "take out `ignore`"),
        (THREE, lambda labels, _: Image.fromarray(VOC[labels]), "", "`encoding: rgb` and `colors: [[0, 0, 0], [128"),
        (THREE, lambda labels, _: Image.fromarray(_SWAPPED[labels]), _COLORS, "`colors: [[0, 0, 0], [20, 40, 220]"),
        (THREE, lambda labels, _: Image.fromarray(labels), _COLORS, "`encoding: index`"),
        (THREE, lambda labels, _: Image.fromarray(np.stack([labels, 0 * labels, 0 * labels], 2)), "", "`channel: red`"),
        (THREE, _pages((1, 2)), "", "`pages: merge`"),
        (THREE, _pages((255, 255)), "", "`pages: classes`"),
        (THREE, _min_is_white, "", "`min_is_white: stored`"),
        (TWO, _objects, "", "`encoding: instances`"),
        (THREE, _own_palette, "", "`encoding: rgb`"),
    ],
)
def test_advice_leads_to_the_true_shares(
    tmp_path: Path, names: tuple[str, ...], draw: Draw, extra: str, line: str
) -> None:
    make(tmp_path, names, draw, extra)
    found = errors(examine(tmp_path))
    assert found
    assert line in found[0].fix
    assert len({problem.fix for problem in found}) == 1
    follow(tmp_path, found[0].fix, names)
    after = examine(tmp_path)
    assert not errors(after)
    shares = after.pixel_share["train"]
    assert shares is not None
    assert sorted(shares.values()) == pytest.approx(sorted(truth(len(names))))
    if "colors" not in line and draw is not _own_palette:  # of unknown colors, nobody knows the order
        assert list(shares.values()) == pytest.approx(truth(len(names)))


def test_values_of_masks_with_one_object_each_are_gathered_over_all_files(tmp_path: Path) -> None:
    make(tmp_path, THREE, _one_object_each)
    found = errors(examine(tmp_path))
    assert {problem.fix.partition(". The")[0] for problem in found} == {
        "It seems that the masks hold PASCAL VOC's colors turned to gray. Write `values: [0, 38, 75]` in dataset.yaml"
    }


def _smoothed(labels: np.ndarray, _: int) -> Image.Image:
    half = Image.fromarray(labels * 255).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.NEAREST)
    return half.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)


def _through_jpeg(labels: np.ndarray, _: int) -> Image.Image:
    content = io.BytesIO()
    Image.fromarray(labels * 255).save(content, format="JPEG", quality=80)
    return Image.open(content).convert("L")


@pytest.mark.parametrize("draw", [_smoothed, _through_jpeg])
@pytest.mark.parametrize("extra", ["", "encoding: binary\n"])
def test_blended_edges_are_not_taken_for_classes_or_objects(tmp_path: Path, draw: Draw, extra: str) -> None:
    found = errors(examine(make(tmp_path, TWO, draw, extra)))
    assert {problem.fix for problem in found} == {
        "So many values come from blended edges or JPEG: make the masks again without smoothing, as PNG."
    }


def test_blended_colors_are_not_taken_for_classes(tmp_path: Path) -> None:
    def draw(labels: np.ndarray, _: int) -> Image.Image:
        half = Image.fromarray(VOC[labels]).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.NEAREST)
        return half.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)

    extra = "encoding: rgb\ncolors: [[0, 0, 0], [128, 0, 0], [0, 128, 0]]\n"
    found = errors(examine(make(tmp_path, THREE, draw, extra)))
    assert {problem.fix.partition(":")[0] for problem in found} == {"So many values come from blended edges or JPEG"}


def test_classes_that_interpolation_made_are_named(tmp_path: Path) -> None:
    def draw(labels: np.ndarray, _: int) -> Image.Image:
        half = Image.fromarray((labels == 1).astype(np.uint8) * 3).resize(
            (WIDTH // 2, HEIGHT // 2), Image.Resampling.NEAREST
        )
        return half.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)

    texts = [problem.text for problem in examine(make(tmp_path, FOUR, draw)).problems]
    assert "cat, dog stand only on borders, between other classes" in texts


def test_thin_classes_that_were_drawn_are_not(tmp_path: Path) -> None:
    def draw(labels: np.ndarray, index: int) -> Image.Image:
        labels = np.where(labels > 0, 2, 0).astype(np.uint8)
        labels[:, 1::6] = 1
        return Image.fromarray(labels)

    assert not any("borders" in problem.text for problem in examine(make(tmp_path, THREE, draw)).problems)


def test_min_is_white_is_a_warning_with_both_readings(tmp_path: Path) -> None:
    def draw(labels: np.ndarray, _: int) -> tuple[Image.Image, dict[str, Any]]:
        return Image.fromarray(labels * 255), {"tiffinfo": {262: 0}}

    make(tmp_path, TWO, draw, "encoding: binary\n")
    cat = truth(2)[1]
    warning = next(problem for problem in examine(tmp_path).problems if problem.level == "warning")
    assert "PhotometricInterpretation 0" in warning.text
    for way, share in (("shown", cat), ("stored", 1 - cat)):
        assert re.search(rf"min_is_white: {way}` \([^)]*\) gives ground [\d.]+%, cat {share:.1%}", warning.fix)
        (tmp_path / "dataset.yaml").write_text(f"names: [ground, cat]\nencoding: binary\nmin_is_white: {way}\n")
        diagnosis = examine(tmp_path)
        assert diagnosis.pixel_share["train"] == pytest.approx({"ground": 1 - share, "cat": share})
        assert not any("Photometric" in problem.text for problem in diagnosis.problems)


def test_masks_that_no_single_line_fits_are_named_as_unlike_the_others(tmp_path: Path) -> None:
    def draw(labels: np.ndarray, index: int) -> Image.Image:
        return Image.fromarray(VOC[labels] if index == 3 else labels)

    (problem,) = errors(examine(make(tmp_path, THREE, draw)))
    assert problem.file == "train/masks/3.png"
    assert problem.fix.startswith("The other 7 masks are read as dataset.yaml says")


def test_one_class_alone_and_shares_that_differ_between_splits_are_warned_of(tmp_path: Path) -> None:
    def draw(labels: np.ndarray, index: int) -> Image.Image:
        return Image.fromarray(labels * 0 if index < 6 else np.ones_like(labels))

    texts = {problem.text: problem.level for problem in examine(make(tmp_path, TWO, draw)).problems}
    assert texts["every labeled pixel is ground, so there is nothing to tell apart"] == "warning"
    assert texts["class cat has 0.0% of the pixels of a train mask, but 100.0% here"] == "warning"
