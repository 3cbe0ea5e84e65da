"""The folder of predictions: which files it holds for an image, and what they were predicted by."""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.data.classes import Classes
from fewmask.errors import UserError
from fewmask.run.atomic import write_text
from fewmask.use.encoding import as_byte, encoded, mask_look, overlay
from fewmask.use.network import Maps
from fewmask.use.raster import Sink, opened_sink
from fewmask.use.raster.sink import Look

KINDS = ("masks", "overlays", "confidence", "entropy")
IMAGES = "images"
"""The key of a record under which it names the folder of the images."""
_RECORD = "prediction.json"
_OPACITY = 0.5
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Results:
    """A folder `out` with out/masks/NAME.png, out/overlays/NAME.png, and so on; images with a place become NAME.tif.

    Args:
        out: the folder.
        kinds: those of KINDS that are written.
        classes: their colors, and how masks write them.
    """

    def __init__(self, out: Path, kinds: Sequence[str], classes: Classes) -> None:
        self.out, self.classes = out, classes
        self.kinds = [kind for kind in KINDS if kind in kinds]
        self._made: set[Path] = set()

    @property
    def folders(self) -> list[Path]:
        """The folders that may hold results."""
        return [self.out / kind for kind in KINDS]

    def holds(self, stem: Path) -> bool:
        """Whether there is every result for an image."""
        return all(any(file.exists() for file in self._files(kind, stem)) for kind in self.kinds)

    def existing(self, stem: Path) -> list[Path]:
        """The results for an image that are there."""
        return [file for kind in self.kinds for file in self._files(kind, stem) if file.exists()]

    def begin(self, record: Mapping[str, Any], stems: Sequence[Path], force: bool) -> None:
        """Writes down what the results are predicted by, or checks that it is what earlier ones were predicted by.

        Raises:
            UserError: there are results of something else, and `force` is not set; or the folder cannot be written.
        """
        path = self.out / _RECORD
        text = json.dumps(record, indent=2, sort_keys=True) + "\n"
        before = _text(path)
        if before == text:
            return
        fix = "Choose another --out, or add --force."
        if before and not force:
            raise UserError(_other(before, record), self.out, fix)
        if self.out.exists() and not self.out.is_dir():
            raise CannotWriteError(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), self.out)
        existing = [file for stem in stems for file in self.existing(stem)]
        if existing and not force:
            what = f"it and {len(existing) - 1} more files exist" if len(existing) > 1 else "it exists"
            raise UserError(f"{what} already", existing[0], fix)
        if before:
            self._check_no_others(stems)
        with _told(path):
            for file in existing:  # or they would pass for results of the new record, if this command is stopped
                file.unlink(missing_ok=True)  # another rank may have removed it
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(path, text)

    def _check_no_others(self, stems: Sequence[Path]) -> None:
        """Raises UserError if the folder holds results that are not made anew, of which only the old record is true."""
        own = {file for kind in self.kinds for stem in stems for file in self._files(kind, stem)}
        there = (file for folder in self.folders for suffix in ("png", "tif") for file in folder.rglob(f"*.{suffix}"))
        other = next((file for file in there if file not in own), None)
        if other is not None:
            what = "it is by another model, with other settings or of another image, and would stay as it is"
            fix = "Choose another --out, remove it, or predict all images and kinds of results of this folder anew."
            raise UserError(what, other, fix)

    @contextmanager
    def writer(self, stem: Path, size: tuple[int, int], place: Any) -> Iterator["Writer"]:
        """Opens the results for an image of size (height, width); they appear when all are whole.

        Raises:
            CannotWriteError: a file cannot be written.
            UserError: a link leads out of the folder.
        """
        suffix = ".png" if place is None else ".tif"
        looks = {"masks": mask_look(self.classes), "overlays": Look(channels=3)}
        with ExitStack() as stack:
            sinks = {}
            for kind in self.kinds:  # the stack closes them in reverse, so the mask appears last
                target = self.out / kind / f"{stem}{suffix}"
                stack.enter_context(_told(target))
                self._make(target.parent)
                sinks[kind] = stack.enter_context(opened_sink(target, *size, looks.get(kind, Look()), place))
            yield Writer(sinks, self.classes)

    def _make(self, folder: Path) -> None:
        """Makes a folder; raises UserError if a link leads it out of the folder of results."""
        if folder in self._made:
            return
        if not folder.resolve().is_relative_to(self.out.resolve()):
            fix = "Remove the link, or choose another --out."
            raise UserError("a link leads out of the folder of results", folder, fix)
        folder.mkdir(parents=True, exist_ok=True)
        self._made.add(folder)

    def _files(self, kind: str, stem: Path) -> list[Path]:
        return [self.out / kind / f"{stem}{suffix}" for suffix in (".png", ".tif")]


class Writer:
    """The open results for one image."""

    def __init__(self, sinks: Mapping[str, Sink], classes: Classes) -> None:
        self._sinks, self._classes = sinks, classes

    @property
    def needs_pixels(self) -> bool:
        """Whether `write` needs the image itself."""
        return "overlays" in self._sinks

    def write(self, maps: Maps, pixels: NDArray[np.uint8] | None) -> None:
        """Adds the next rows; `pixels` are the same rows of the image."""
        for kind, sink in self._sinks.items():
            if kind == "masks":
                sink.write(encoded(maps.labels, self._classes))
            elif kind == "overlays":
                assert pixels is not None
                sink.write(overlay(pixels, maps.labels, self._classes, _OPACITY))
            else:
                share = maps.confidence if kind == "confidence" else maps.entropy
                assert share is not None
                sink.write(as_byte(share))


class CannotWriteError(UserError):
    """A result cannot be written; `is_general` says that others cannot be written either."""

    def __init__(self, error: OSError, where: Path) -> None:
        full = error.errno in _FULL
        what = f"cannot write it ({error.strerror or error})"
        super().__init__(what, where, "Free some space." if full else "Choose another --out.")
        self.is_general = full or (not isinstance(error, FileNotFoundError) and error.errno != errno.ENAMETOOLONG)


@contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWriteError(error, target) from None


def _other(text: str, record: Mapping[str, Any]) -> str:
    """What is wrong with results whose record has this text, and not that of `record`."""
    with suppress(ValueError, RecursionError):  # a damaged record is of another model
        found = json.loads(text)
        if isinstance(found, dict) and {**found, IMAGES: record[IMAGES]} == record:
            return f"it holds predictions of the images in {found.get(IMAGES, 'an unknown folder')}"
    return "it holds predictions by another model or with other settings"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if os.path.lexists(path) else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the file cannot be read ({error})", path, "Remove it, or choose another --out.") from None
