"""Which mask belongs to which image, by their names: equal names, or names that differ in the same way everywhere.

Names are compared in Unicode's composed form (NFC), because some systems write accents as letters of their own. Where
this leaves masks over, capital letters are put aside, then one ending or beginning that all of them have, such as
`_mask`, and then words for images and masks, as in `img_01` and `mask_01`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from fewmask.data.sample import JPEG_SUFFIXES, Sample
from fewmask.errors import UserError, in_command

_IMAGE_WORDS = r"images?|imgs?|im|photos?|pictures?|inputs?|rgb|raw|leftimg8bit"
_MASK_WORDS = (
    r"masks?|labels?|lbl|gt|gts|ground_?truth|targets?|seg|segs|segmentations?|annotations?|annots?|ann|l|matte|"
    r"labelids|labeltrainids|gtfine"
)
_WORD = re.compile(rf"(?:^|(?<=[_\-. /]))(?:{_IMAGE_WORDS}|{_MASK_WORDS})(?=$|[_\-. /])", re.IGNORECASE)
_MASK_ENDING = re.compile(rf"[_\-. ](?:{_MASK_WORDS})$", re.IGNORECASE)
_MASK_BEGINNING = re.compile(rf"(?:^|(?<=/))(?:{_MASK_WORDS})[_\-. ](?=.)", re.IGNORECASE)
_TASK = re.compile(r"task-\d+-annotation-\d+")


def pair_masks(
    root: Path, images: Mapping[str, Path], masks: Mapping[str, Path], mistakes: list[UserError], notes: list[UserError]
) -> tuple[Sample, ...]:
    """A sample for each image, with its mask if there is one.

    Args:
        root: the dataset, for commands in advice.
        images, masks: files by their name without suffix, see `files_below`.
        mistakes: gets a mistake for every mask without an image, or a single one if each image has several.
        notes: gets a line if names were not equal, so that it can be checked.
    """
    found = {name: mask for name, mask in masks.items() if name in images}
    left = {name: mask for name, mask in masks.items() if name not in images}
    if left:
        named = _named_alike(images, found, left)
        if named is not None:
            how, of_left = named
            found |= {image: left[mask] for mask, image in of_left.items()}
            one, its_image = next(iter(of_left.items()))
            what = f"{len(left)} masks are named {how}, such as {left[one].name} of {images[its_image].name}"
            notes.append(UserError(what, left[one].parent, "See whether these belong together."))
        else:
            mistakes += _unpaired(root, images, found, left)
    for name, mask in list(found.items()):
        if mask.suffix.lower() in JPEG_SUFFIXES:
            del found[name]
            what = "the mask is a JPEG, and JPEG changes label values"
            mistakes.append(UserError(what, mask, "Export it again as PNG; do not convert the JPEG."))
    return tuple(Sample(name, image, found.get(name)) for name, image in images.items())


def nearest_image(mask: str, images: Mapping[str, Path]) -> str | None:
    """The image with the longest name that stands in the name of the mask; None without one."""
    last = mask.rpartition("/")[2]
    inside = [name for name in images if _stands_in(name.rpartition("/")[2], last)]
    return max(inside, key=len) if inside else None


def without_image(mask: str, image: str) -> str:
    """What the name of a mask says besides the name of its image."""
    last, name = mask.rpartition("/")[2], image.rpartition("/")[2]
    at = next(
        (at for at in re.finditer(re.escape(name), last) if _are_apart(last[: at.start()], last[at.end() :])), None
    )
    return last if at is None else f"{last[: at.start()]} {last[at.end() :]}"


def _stands_in(name: str, text: str) -> bool:
    """Whether a name stands in a text as a word of its own: `1_mask` holds 1, and `10_mask` does not."""
    return any(_are_apart(text[: at.start()], text[at.end() :]) for at in re.finditer(re.escape(name), text))


def _are_apart(before: str, after: str) -> bool:
    """Whether letters and digits around a name are not a part of it; `catMask` counts as two words."""
    return not before[-1:].isalnum() and (not after[:1].isalnum() or after[:1].isupper())


def named_after_another(name: str, images: Mapping[str, Path]) -> bool:
    """Whether the name is that of another image with a part behind it, as in `cat` and `cat_part`."""
    return any(name[: found.start()] in images for found in re.finditer(r"[_\-. ]", name))


def masks_among(images: Mapping[str, Path]) -> dict[str, str]:
    """The files of one folder that are named after another one of them as its mask; by name, the other's name."""
    bare = {name: re.sub(_MASK_ENDING, "", re.sub(_MASK_BEGINNING, "", name)) for name in images}
    return {name: image for name, image in bare.items() if name != image and image in images and bare[image] == image}


def _named_alike(
    images: Mapping[str, Path], found: Mapping[str, Path], left: Mapping[str, Path]
) -> tuple[str, dict[str, str]] | None:
    """How the names of all masks that are left differ from those of images, and the image of each.

    None if they do not differ in one way, or an image would have two masks.
    """
    free = [name for name in images if name not in found]
    stems = Counter(name.rpartition("/")[2] for name in images)
    ways: list[tuple[str, Callable[[str], str]]] = [
        ("with other capital letters", str.casefold),
        ("without the folders of the images", lambda name: name.rpartition("/")[2]),
        (
            "with other words for image and mask",
            lambda name: re.sub(r"[_\-. ]+", "_", _WORD.sub("", name)).strip("_").casefold(),
        ),
    ]
    by_affix = _affix(free, left)
    is_a_rule = not found and len(left) > 1  # a single mask that is left over needs a word that says so
    if by_affix is not None and (is_a_rule or _WORD.search(by_affix[0].replace("NAME", "_"))):
        return by_affix
    for how, key in ways:
        by_key: dict[str, list[str]] = defaultdict(list)
        for name in free:
            by_key[key(name)].append(name)
        keys = {mask: key(mask) for mask in left}
        is_one_to_one = len(set(keys.values())) == len(left)
        if is_one_to_one and all(text and len(by_key[text]) == 1 for text in keys.values()):
            if key is ways[1][1] and any(stems[text] > 1 for text in keys.values()):
                continue
            return how, {mask: by_key[text][0] for mask, text in keys.items()}
    of_images, of_masks = _without_ends(images), _without_ends(left)
    by_rest = {rest: name for name, rest in of_images.items()}
    if is_a_rule and len(images) > 1 and all(rest and rest in by_rest for rest in of_masks.values()):
        chosen = {mask: by_rest[rest] for mask, rest in of_masks.items()}
        if len(set(chosen.values())) == len(left):
            return "with another beginning or ending", chosen
    return None


def _affix(images: list[str], left: Mapping[str, Path]) -> tuple[str, dict[str, str]] | None:
    """One beginning and ending that all masks have beside the name of an image; folders must be the same."""
    known, ways = set(images), []
    folder, slash, stem = next(iter(left)).rpartition("/")
    for start in range(len(stem)):
        ways += [
            (stem[:start], stem[end:])
            for end in range(start + 1, len(stem) + 1)
            if folder + slash + stem[start:end] in known and _are_apart(stem[:start], stem[end:])
        ]
    for before, after in sorted(ways, key=lambda way: len(way[0] + way[1])):
        of_masks = {}
        for mask in left:
            folder, slash, stem = mask.rpartition("/")
            if stem.startswith(before) and stem.endswith(after) and len(stem) > len(before + after):
                of_masks[mask] = folder + slash + stem[len(before) : len(stem) - len(after)]
        if len(of_masks) == len(left) == len(set(of_masks.values())) and set(of_masks.values()) <= known:
            return f"{before}NAME{after}", of_masks
    return None


def _unpaired(
    root: Path, images: Mapping[str, Path], found: Mapping[str, Path], left: Mapping[str, Path]
) -> list[UserError]:
    """The mistakes of masks without an image."""
    first = next(iter(left.values()))
    convert = f"fewmask convert {in_command(root)} --out {in_command(root.name + '_converted')}"
    near = {name: nearest_image(name, images) or _folder_image(name, images) for name in left}
    counts = Counter(image for image in near.values() if image is not None)
    several = sum(count + (image in found) > 1 for image, count in counts.items())
    if several and 2 * sum(counts.values()) > len(left):
        most = max(counts, key=counts.__getitem__)
        names = sorted(left[name].name for name in left if near[name] == most)
        what = f"{several} images have several masks, such as {', '.join(names[:3])} for {images[most].name}"
        return [UserError(what, first.parent, f"Merge the masks of each image: {convert}")]
    if all(_TASK.match(name.rpartition("/")[2]) for name in left):
        what = f"{len(left)} masks are named by tasks of Label Studio, which do not say of which image they are"
        fix = f"Export the project as JSON too, and merge the masks: {convert} --tasks EXPORT.json"
        return [UserError(what, first.parent, fix)]
    mistakes = []
    for name, mask in left.items():
        image = near[name]
        what = "the mask has no image" + (f" (is it that of {images[image].name}?)" if image else "")
        mistakes.append(UserError(what, mask, "Give it the name of its image, or remove it."))
    return mistakes


def _folder_image(mask: str, images: Mapping[str, Path]) -> str | None:
    """The image after which the folder of the mask is named."""
    folder = mask.rpartition("/")[0]
    return folder if folder in images else None


def _without_ends(names: Iterable[str]) -> dict[str, str]:
    """Each name without the beginning and the ending that all of them have; numbers are not cut."""
    stems = list(names)
    before = re.sub(r"\d+$", "", _common(stems))
    rest = [stem[len(before) :] for stem in stems]
    after = re.sub(r"^\d+", "", _common([stem[::-1] for stem in rest])[::-1])
    return dict(zip(stems, (stem[: len(stem) - len(after)] for stem in rest), strict=True))


def _common(texts: list[str]) -> str:
    """The beginning that all texts have."""
    shortest, longest = min(texts, default=""), max(texts, default="")  # in order of the letters
    return next((shortest[:at] for at, letter in enumerate(shortest) if longest[at : at + 1] != letter), shortest)
