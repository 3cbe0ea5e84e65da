"""Judges all masks together: whether the classes read them as they were meant, and what to write if not."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fewmask.data.classes import Classes
from fewmask.data.doctor.advice import advise, advise_channel, advise_colors
from fewmask.data.doctor.all_masks import Masks
from fewmask.data.doctor.candidates import NO_CLASS
from fewmask.data.doctor.histogram import Counts
from fewmask.data.doctor.mask_facts import MaskFacts
from fewmask.data.doctor.problem import Problem
from fewmask.data.masks import unknown_codes, unpack
from fewmask.shapes import IGNORE

_BORDER_SHARE = 0.8  # so many of the pixels of an interpolated class lie between two other classes
_INNER_SHARE = 0.1  # and at most so many inside an area of it
_FEW_PIXELS = 100  # a class of fewer is not judged
_FEW_VALUES = 8  # so many may be classes that were not named
_SMOOTHED = "So many values come from blended edges or JPEG: make the masks again without smoothing, as PNG."


class NamedMask(NamedTuple):
    """The facts of a mask, and its path in the data set; `says` is why the classes cannot read it, or empty."""

    file: str
    facts: MaskFacts
    says: str = ""


def judge_masks(
    classes: Classes, train: Sequence[NamedMask], others: Sequence[NamedMask] = (), place: str = "", guide: str = ""
) -> list[Problem]:
    """Everything that all masks together say about dataset.yaml.

    Args:
        classes: what the masks are read by.
        train: the masks to learn from.
        others: the masks of val and test.
        place: the folder of the masks, for problems of all of them.
        guide: the remedy in a public dataset, whose classes are known; empty for a folder with a dataset.yaml.
    """
    if not train and not others:
        return []
    masks = Masks([mask.facts for mask in train], [mask.facts for mask in others])
    failing = [(mask, says) for mask in (*train, *others) if (says := _what_fails(mask, classes))]
    if failing:
        fix = guide or _remedy(classes, masks, [mask.facts for mask, _ in failing])
        return [Problem("error", mask.file, says, fix) for mask, says in failing]
    pixels = masks.pixels(classes)
    assert pixels is not None
    problems = list(_missing_classes(classes, masks, pixels, place))
    if pixels[: len(classes)].any():
        problems += _unlabeled(classes, (*train, *others))
    if any(problem.level == "error" for problem in problems):
        return problems
    for judge in (_palettes, _min_is_white, _alpha, _two_encodings, _on_borders):
        problems += judge(classes, masks, (*train, *others), place)
    return problems


def _what_fails(mask: NamedMask, classes: Classes) -> str:
    if mask.says:
        return mask.says
    unknown = mask.facts.unknown(classes)
    return unknown_codes(np.array(unknown), classes) if unknown else ""


def _remedy(classes: Classes, masks: Masks, failing: Sequence[MaskFacts]) -> str:
    """What to do about masks that the classes cannot read."""
    if fix := _advice(classes, masks):
        return fix
    if masks.look_blended(classes):
        return _SMOOTHED
    readable = len(masks.all) - len(failing)
    if readable:
        of_failing = advise(classes, Masks(failing))
        how = f" (they fit `{of_failing.classes.encoding}`)" if of_failing else ""
        return f"The other {readable} masks are read as dataset.yaml says: write these in the same way{how}."
    found = sorted({code for mask in failing for code in mask.unknown(classes)})
    if classes.encoding == "rgb":
        colors = ", ".join(map(str, map(unpack, found[:8])))
        return f"Name every color that the masks hold in `colors` or `ignore_colors` of dataset.yaml: {colors}."
    if found:
        values = ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")
        return f"Name every value that the masks hold as a class or in `ignore` of dataset.yaml: {values} are unknown."
    return "No change of dataset.yaml lets these masks be read: save them again as 8-bit PNG with a value per class."


def _advice(classes: Classes, masks: Masks, is_likely: bool = True) -> str:
    """What to write for all masks, or else for those of train; empty if nothing works."""
    proposal, alike = advise(classes, masks), ""
    if proposal is None and masks.train and len(masks.train) < len(masks.all):
        proposal = advise(classes, Masks(masks.train))
        alike = " This fits the masks of train; those of val or test are written in another way: make them alike."
    if proposal is None:
        return ""
    if proposal.reason == NO_CLASS:
        return f"{proposal.fix}{alike} If it is a class, name it instead."
    reason = f"It seems that {proposal.reason}." if is_likely else f"If {proposal.reason}:"
    fix = f"{reason} {proposal.fix}{alike}"
    if proposal.classes.encoding == "instances":
        num_values = len(masks.codes(proposal.classes))
        if num_values <= _FEW_VALUES:
            fix += f" If each of the {num_values} values is a class, name all of them instead."
    return fix


def _missing_classes(classes: Classes, masks: Masks, pixels: Counts, place: str) -> Iterator[Problem]:
    """Classes without a pixel, where another reading of the masks would give every class some."""
    labeled = pixels[: len(classes)]
    missing = [name for name, count in zip(classes.names, labeled, strict=True) if not count]
    if not missing or not masks.train:
        return
    ignored = ", but some pixels are ignored" if pixels[IGNORE] and labeled.any() else ""
    one_left = bool((labeled > 0).sum() <= 1)
    if fix := _advice(classes, masks, is_likely=one_left):
        text = f"no mask holds {', '.join(missing)}{ignored or (', and all pixels are ignored' * bool(pixels[IGNORE]))}"
        yield Problem("error" if one_left else "warning", place, text, fix)
    elif not labeled.any():
        text = "every pixel of every mask is ignored, so there is nothing to learn"
        yield Problem("error", place, text, "Label something in them, or correct `ignore` in dataset.yaml.")
    elif (labeled > 0).sum() == 1:
        only = classes.names[int(labeled.argmax())]
        text = f"every labeled pixel is {only}, so there is nothing to tell apart{ignored}"
        yield Problem(
            "warning", place, text, "A network learns to answer always the same. Label the other classes too."
        )


def _unlabeled(classes: Classes, named: Sequence[NamedMask]) -> Iterator[Problem]:
    for mask in named:
        labels = mask.facts.labels(classes)
        if labels is not None and not labels[:IGNORE].any():
            yield Problem(
                "warning", mask.file, "every pixel of the mask is ignored", "Label something in it, or remove it."
            )


def _palettes(classes: Classes, masks: Masks, named: Sequence[NamedMask], place: str) -> Iterator[Problem]:
    """The same colors at other positions of the palette, file by file: there the colors are what is meant."""
    if classes.encoding != "index" or classes.channel is not None:
        return
    first: dict[int, tuple[int, str]] = {}
    for mask in named:
        palette = mask.facts.palette or {}
        colors = list(palette.values())
        for position, color in palette.items():
            if colors.count(color) > 1:  # a palette that was not filled
                continue
            before, file = first.setdefault(color, (position, mask.file))
            if before != position:
                text = f"the palettes differ: color {unpack(color)} is at {before} in {file} and at {position} here"
                proposal = advise_colors(classes, masks)
                fix = proposal.fix if proposal else "Save all masks with one palette."
                is_meant = "encoding" in classes.model_fields_set  # somebody wrote that positions count
                if not is_meant:
                    fix += " If the positions are right all the same, write `encoding: index`."
                yield Problem("warning" if is_meant else "error", mask.file, text, fix)
                return


def _min_is_white(classes: Classes, masks: Masks, named: Sequence[NamedMask], place: str) -> Iterator[Problem]:
    flagged = [mask for mask in named if mask.facts.min_is_white]
    if not flagged or classes.min_is_white is not None:
        return
    readings = []
    for way, meaning in (("shown", "as it is read now"), ("stored", "the numbers in the file")):
        pixels = masks.pixels(classes.model_copy(update={"min_is_white": way}))
        if pixels is not None and pixels[: len(classes)].all():
            shares = zip(classes.names, pixels[: len(classes)] / pixels[: len(classes)].sum(), strict=True)
            found = ", ".join(f"{name} {share:.1%}" for name, share in shares)
            readings.append(f"`min_is_white: {way}` ({meaning}) gives {found}")
    text = (
        f"the header of {len(flagged)} masks says that 0 is white (PhotometricInterpretation 0), so levels are turned"
    )
    fix = f"Write in dataset.yaml which is meant: {'; '.join(readings)}." if readings else "Save them again as PNG."
    yield Problem("warning", flagged[0].file, text, fix)


def _alpha(classes: Classes, masks: Masks, named: Sequence[NamedMask], place: str) -> Iterator[Problem]:
    if classes.channel is not None:
        return
    varied = [
        mask.file
        for mask in named
        for reading, found in mask.facts.histograms.items()
        if reading.kind == "alpha" and len(found.codes) > 1
    ]
    if varied:
        text = f"{len(varied)} masks have an alpha channel that differs from pixel to pixel, and it is not read"
        proposal = advise_channel(classes, masks, "alpha")
        fix = (
            f"If the mask is in it: {proposal.fix}" if proposal else "Nothing needs to be done if the colors are meant."
        )
        yield Problem("note", varied[0], text, fix)


def _two_encodings(classes: Classes, masks: Masks, named: Sequence[NamedMask], place: str) -> Iterator[Problem]:
    """Some masks in 0 and 1, others in 0 and 255, which is ignored."""
    if classes.encoding != "index" or len(classes) != 2:
        return
    suspects, have_second = [], False
    for mask in named[: len(masks.train)]:
        labels = mask.facts.labels(classes)
        assert labels is not None
        have_second |= bool(labels[1])
        if labels[0] and not labels[1] and labels[IGNORE]:
            suspects.append(mask.file)
    if suspects and have_second:
        second = classes.names[1]
        text = f"{len(suspects)} masks hold 255, which is ignored, and no {second}; others do"
        yield Problem(
            "warning", place, text, f"If 255 means {second} in these, such as {suspects[0]}, make all masks alike."
        )


def _on_borders(classes: Classes, masks: Masks, named: Sequence[NamedMask], place: str) -> Iterator[Problem]:
    """Classes that nobody drew: they came between two others when the masks were scaled."""
    if classes.encoding != "index":
        return
    totals = np.zeros((3, IGNORE + 1), dtype=np.int64)
    for mask in masks.train:
        found = mask.histogram(classes)
        is_whole = found is not None and not set(found.codes.tolist()) & set(classes.ignore)  # ignored areas hide what
        if found is not None and is_whole and found.codes.max() <= IGNORE:  # a border lies between
            totals[:, found.codes] += np.stack((found.counts, found.inner, found.between))
    names = []
    for name, value in zip(classes.names, classes.values, strict=True):
        count, inner, between = totals[:, value] if value <= IGNORE else (0, 0, 0)
        if count >= _FEW_PIXELS and between >= _BORDER_SHARE * count and inner <= _INNER_SHARE * count:
            names.append(name)
    if names:
        text = f"{', '.join(names)} {'stand' if len(names) > 1 else 'stands'} only on borders, between other classes"
        fix = "The masks were probably scaled with interpolation: scale them again with nearest neighbor."
        yield Problem("warning", place, text, fix)
