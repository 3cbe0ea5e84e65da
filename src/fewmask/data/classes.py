"""What the numbers or colors in a mask mean: `dataset.yaml` or `classes.txt` beside the images."""

import colorsys
import re
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from fewmask.data.class_keys import check_keys
from fewmask.errors import UserError, printable, quoted, reason_of
from fewmask.ignore import IGNORE
from fewmask.yaml_text import YamlError, parse_yaml

MAX_CLASSES = 254  # 255 is IGNORE, and 254 marks an unknown value while a mask is read
CLASS_FILES = ("dataset.yaml", "classes.txt")
_SHORTEST = "Its shortest form is one line: `names: [background, cat, dog]`."
MINIMAL_YAML = f"Write a dataset.yaml there. {_SHORTEST}"
_FORMS = {
    "names": "Write `names: [background, cat, 'no', '1']`, quoting what YAML would not take for text, "
    "or `names: {0: background, 1: cat}`.",
    "encoding": "Write one of these.",
    "channel": "Write one of these, or leave it out.",
    "pages": "Write one of these, or leave it out.",
    "min_is_white": "Write one of these, or leave it out.",
    "values": "Write the mask value of each class: `values: [0, 1, 2]`.",
    "colors": "Write red, green and blue of each class: `colors: [[0, 0, 0], [255, 0, 0]]`.",
    "ignore": "Write mask values: `ignore: [255]`.",
    "ignore_colors": "Write colors: `ignore_colors: [[0, 0, 0]]`.",
    "more_colors": "Write the further colors of each class: `more_colors: [[], [[255, 0, 0]]]`.",
}
VOID_NAMES = {"void", "ignore", "unlabeled", "unlabelled"}

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]
MaskValue = Annotated[int, Field(ge=0, le=65535)]


def default_palette(num_colors: int) -> tuple[Color, ...]:
    """Colors that differ as much as possible from their neighbors: hues one golden angle apart, in four strengths."""
    colors = []
    for index in range(num_colors):
        hue = 0.62 + index * 0.6180339887
        saturation, brightness = ((0.75, 0.95), (0.55, 0.70), (0.40, 1.00), (0.90, 0.50))[index // 2 % 4]
        red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, brightness)
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colors)


def _default_values(given: dict[str, Any]) -> tuple[int, ...]:
    return (0, 255) if given["encoding"] == "binary" else tuple(range(len(given["names"])))


def _default_ignore(given: dict[str, Any]) -> tuple[int, ...]:
    return () if given["encoding"] == "instances" or IGNORE in given.get("values", ()) else (IGNORE,)


def _default_colors(given: dict[str, Any]) -> tuple[Color, ...]:
    return () if given["encoding"] == "rgb" else default_palette(len(given["names"]))


class Classes(BaseModel):
    """The classes of a dataset and how its masks write them; class c of the network is `names[c]`.

    Attributes:
        encoding: what a mask holds. `index`: a gray or palette mask holds `values`. `rgb`: the mask holds `colors`.
            `binary`: the mask holds 0 for the first of two classes and 255 for the second. `instances`: the mask
            numbers objects: 0, or black, is the first of two classes, and every other value or color the second.
        values: the mask value of each class; the values need not be consecutive. Default: 0..k-1.
        colors: (red, green, blue) of each class in 0..255; a default palette unless the encoding is `rgb`.
        ignore: mask values that are ignored. 255 is one of them, unless it is the value of a class or the encoding is
            `binary` or `instances`.
        ignore_colors: the colors that are ignored if the encoding is `rgb`.
        more_colors: for `rgb`, if several colors mean one class: the additional colors of each class, in order.
        channel: the channel of color masks that holds the values; None if the channels are equal or hold colors.
        pages: of masks with several pages, `first` reads one. `merge`: a pixel has the value of the last page where it
            is not 0. `classes`: every page shows one class; if they are one fewer than the classes, page n shows class
            n, and the first class is where no page shows anything. None: such masks are refused.
        min_is_white: of TIFF masks whose header says that 0 is white (PhotometricInterpretation 0), `shown` takes the
            values that a viewer shows and `stored` those in the file. None: as shown, and the doctor warns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[Name, ...]
    encoding: Literal["index", "rgb", "binary", "instances"] = "index"
    values: tuple[MaskValue, ...] = Field(default_factory=_default_values)
    colors: tuple[Color, ...] = Field(default_factory=_default_colors)
    ignore: tuple[MaskValue, ...] = Field(default_factory=_default_ignore, validate_default=True)
    ignore_colors: tuple[Color, ...] = ()
    more_colors: tuple[tuple[Color, ...], ...] = ()
    channel: Literal["red", "green", "blue", "alpha"] | None = None
    pages: Literal["first", "merge", "classes"] | None = None
    min_is_white: Literal["shown", "stored"] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def background(self) -> int | None:
        """The class that is named background, or `_background_` as by LabelMe, if there is one."""
        return next((index for index, name in enumerate(self.names) if name.strip("_").lower() == "background"), None)

    @field_validator("ignore")
    @classmethod
    def _ignore_255(cls, ignore: tuple[int, ...], given: Any) -> tuple[int, ...]:
        # `given` is a ValidationInfo, a protocol that beartype cannot check
        encoding = given.data.get("encoding")
        if encoding == "binary":
            return tuple(sorted(set(ignore) - {IGNORE}))
        if encoding == "instances" or IGNORE in given.data.get("values", ()):
            return tuple(sorted(set(ignore)))
        return tuple(sorted({*ignore, IGNORE}))

    @model_validator(mode="after")
    def _check(self) -> "Classes":
        _check_names(self.names)
        _check_lengths(self)
        _check_values(self)
        _check_places(self)
        if self.encoding == "rgb":
            _check_colors(self)
        return self


def read_classes(root: Path | str) -> Classes:
    """The classes of the dataset in folder `root`.

    `dataset.yaml` holds the fields of `Classes`. `names` may also be a mapping `{7: road, 8: sidewalk}` from mask value
    to name, and may be left out if `classes.txt` gives the names. In `classes.txt`, with lines `value name [red green
    blue]`, a line named void, ignore or unlabeled gives an ignored value and not a class.
    """
    yaml_path, text_path = (Path(root) / file for file in CLASS_FILES)
    if not yaml_path.is_file() and not text_path.is_file():
        others = sorted(path.name for path in Path(root).glob("*") if path.suffix in {".yaml", ".yml"})
        fix = (
            f"If {others[0]} names the classes, call it dataset.yaml and keep only its `names`."
            if others
            else MINIMAL_YAML
        )
        raise UserError("neither dataset.yaml nor classes.txt is in this folder", root, fix)
    fields = _read_yaml(yaml_path) if yaml_path.is_file() else {}
    path = yaml_path if yaml_path.is_file() else text_path
    if "names" not in fields and text_path.is_file():
        fields = {**_read_text(text_path), **fields}
        if fields.get("encoding") == "binary":
            fields.pop("values", None)  # a list of two names would count 0, 1, but the masks hold 0, 255
    try:
        return Classes(**fields)
    except UserError as error:
        raise UserError(error.what, path, error.fix) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["loc"] == ("names",) and first["type"] == "missing":
            raise UserError("`names` is missing", path, _SHORTEST) from None
        what = f"`{key}` is {quoted(first['input'])}: {reason_of(first)}"
        raise UserError(what, path, _FORMS[str(first["loc"][0])]) from None


def write_classes(classes: Classes, path: Path | str) -> None:
    """Write `path` (a .yaml file, or a folder for `dataset.yaml`) so that `read_classes` returns the same classes."""
    path = Path(path)
    file = path if path.suffix in {".yaml", ".yml"} else path / "dataset.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    fields = classes.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(fields, sort_keys=False, default_flow_style=None, allow_unicode=True)
    file.write_text(text, encoding="utf-8")


def _check_names(names: tuple[str, ...]) -> None:
    hidden = next((name for name in names if printable(name) != name), None)
    if hidden is not None:
        raise UserError(f"the class name {hidden!r} holds a control character", fix="Write it with letters and blanks.")
    repeated = [name for index, name in enumerate(names) if name in names[:index]]
    if repeated:
        raise UserError(f"class {repeated[0]!r} is named twice", fix="Give every class its own name.")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise UserError(
            f"there {'is 1 class' if len(names) == 1 else f'are {len(names)} classes'}, expected 2 to {MAX_CLASSES}",
            fix="Name the background as a class too, e.g. `names: [background, cat]`."
            if len(names) < 2
            else "A mask has room for no more; join some, or leave them to `ignore`.",
        )


def _check_lengths(classes: Classes) -> None:
    if classes.encoding in ("binary", "instances") and len(classes) != 2:
        raise UserError(
            f"encoding {classes.encoding} means two classes, but {len(classes)} are named",
            fix="Name two, e.g. `names: [background, cat]`, or write `encoding: index`.",
        )
    more_colors = classes.more_colors or classes.colors
    for key, entries in (("values", classes.values), ("colors", classes.colors), ("more_colors", more_colors)):
        if len(entries) != len(classes):
            raise UserError(
                f"`{key}` has {len(entries)} entries for {len(classes)} names", fix="Give one for each class, in order."
            )


def _check_values(classes: Classes) -> None:
    fixed = {"binary": (0, 255), "instances": (0, 1)}.get(classes.encoding)
    if fixed is not None and classes.values != fixed:
        what = f"encoding {classes.encoding} leaves no choice of values, but `values` is {list(classes.values)}"
        raise UserError(what, fix="Leave out `values`, or write `encoding: index`.")
    for index, (name, value) in enumerate(zip(classes.names, classes.values, strict=True)):
        if value in classes.values[:index]:
            raise UserError(f"value {value} is given to two classes", fix="Give every class its own mask value.")
        if value in classes.ignore and classes.encoding != "instances":
            what = f"class {name!r} has value {value}, which is ignored"
            raise UserError(what, fix=f"Take {value} out of `ignore`, or out of the classes.")


def _check_places(classes: Classes) -> None:
    """Refuses settings that say where the values stand, but do not go together."""
    if classes.channel and classes.encoding == "rgb":
        fix = "Write `encoding: index` with the `values` of that channel, or leave out `channel`."
        raise UserError("`channel` names one channel, but encoding rgb reads all three", fix=fix)
    if classes.pages == "classes" and classes.encoding != "index":
        fix = "Leave out `encoding`, or write `pages: merge`."
        raise UserError(f"`pages: classes` needs no encoding, but it is {classes.encoding}", fix=fix)
    if classes.pages == "classes" and classes.values != tuple(range(len(classes))):
        raise UserError("with `pages: classes` the pages are the classes", fix="Leave out `values`.")


def _check_colors(classes: Classes) -> None:
    colors = (*classes.colors, *chain(*classes.more_colors), *classes.ignore_colors)
    repeated = [color for index, color in enumerate(colors) if color in colors[:index]]
    if repeated:
        raise UserError(f"color {repeated[0]} is given twice", fix="Give every class and ignored color its own.")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        fields = parse_yaml(_read_utf8(path))
    except YamlError as error:
        raise UserError(str(error), path, "Correct the YAML at that place.") from None
    if not isinstance(fields, dict):
        raise UserError(f"the file is {'empty' if fields is None else 'no list of keys'}", path, _SHORTEST)
    check_keys(path, fields, Classes.model_fields)
    if isinstance(fields.get("names"), dict):
        by_value = fields["names"]
        fields = {"values": list(by_value), **fields, "names": list(by_value.values())}
    if isinstance(fields.get("ignore"), int):
        fields["ignore"] = [fields["ignore"]]
    return fields


def _read_text(path: Path) -> dict[str, Any]:
    """The fields of `Classes` from lines `value name [red green blue]`, or from bare names; names may hold spaces."""
    names, values, colors, ignore, ignore_colors = [], [], [], [], []
    numbered = [(number, line.strip()) for number, line in enumerate(_read_utf8(path).split("\n"), start=1)]
    lines = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    if not any(re.search(r"^\d+(\s|$)", line) for _, line in lines):
        lines = [(number, f"{value} {line}") for value, (number, line) in enumerate(lines)]
    for number, line in lines:
        match = re.fullmatch(r"(\d{1,9})\s+(.*?\S)((?:\s+\d{1,9}){3})?", line)
        if match is None or re.search(r"\s\d+\s+\d+$", match[2]):
            raise UserError(
                f"line {number} is {quoted(line)}", path, "Write `value name` or `value name red green blue`."
            )
        value, name = int(match[1]), match[2]
        color = [[int(level) for level in match[3].split()]] if match[3] else []
        if name.lower() in VOID_NAMES:
            ignore.append(value)
            ignore_colors += color
        else:
            names.append(name)
            values.append(value)
            colors += color
    if colors and len(colors) != len(names):
        raise UserError(f"only {len(colors)} of {len(names)} classes have a color", path, "Give one to all or to none.")
    fields = {"names": names, "values": values, "ignore": ignore, "ignore_colors": ignore_colors}
    if values == [0, 255]:
        fields["encoding"] = "binary"
    return {**fields, "colors": colors} if colors else fields


def _read_utf8(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("the file is not UTF-8 text", path, "Save it as UTF-8.") from None
    except OSError as error:
        raise UserError(f"the file cannot be read ({error.strerror})", path, "Make it readable.") from None
