"""Lists of images as projects publish them: each line names one image, by its name or file, alone or with its mask."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from fewmask.data.sample import IMAGE_SUFFIXES, Sample
from fewmask.errors import UserError, quoted

_FORM = "Write one image a line, by its name or its file."
_TO_SUFFIX = re.compile(rf".*?({'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})(?=$|[\s,;])", re.IGNORECASE)


def listed_names(path: Path, samples: Sequence[Sample], kind: str) -> list[str]:
    """The names of the samples that a text file lists.

    Args:
        path: a UTF-8 text with one image on each line, with or without folder and suffix, alone or before its mask.
            A line is first taken as a whole, because names may hold spaces and `#`. Otherwise `#` starts a comment.
        samples: the samples that may be listed.
        kind: what the samples are, as in "train image".

    Raises:
        UserError: the file is missing, not text or empty, or a line names none of the samples.
    """
    known = _known(samples)
    if not known:
        raise UserError(f"there is no {kind} that a list could name", path, "Add the images, or leave out the list.")
    found = {number: (line, _name_in(line, known)) for number, line in _lines(path, known).items()}
    if not found:
        raise UserError("the list of images is empty", path, _FORM)
    unknown = [number for number, (_, name) in found.items() if name is None]
    if unknown:
        line = found[unknown[0]][0]
        what = f"line {unknown[0]}, {quoted(line)}, is no {kind}"
        more = f" (like {len(unknown) - 1} of the other {len(found) - 1} lines)" if len(unknown) > 1 else ""
        nearest = difflib.get_close_matches(PureWindowsPath(line.split()[0]).stem, known, n=1, cutoff=0)
        raise UserError(what + more, path, f"Correct it (nearest: {nearest[0]}).")
    return [name for _, name in found.values() if name is not None]


def list_summary(path: Path, samples: Sequence[Sample]) -> str:
    """How many images a list names, and how many of its lines are comments: `names.txt: 12 images, 1 comment`."""
    known = _known(samples)
    lines = _lines(path, known)
    texts = [line for line in list_text(path).split("\n") if line.strip()]
    images, comments = len({_name_in(line, known) for line in lines.values()}), len(texts) - len(lines)
    notes = f", {comments} comment{'' if comments == 1 else 's'}" if comments else ""
    return f"{path}: {images} image{'' if images == 1 else 's'}{notes}"


def _lines(path: Path, known: Mapping[str, str]) -> dict[int, str]:
    """The lines of a list without comments, by their numbers."""
    lines = {number: line.strip() for number, line in enumerate(list_text(path).split("\n"), 1)}
    kept = {
        number: line if _name_in(line, known) else re.split(r"(?:^|\s)#", line)[0].strip()
        for number, line in lines.items()
        if line
    }
    return {number: line for number, line in kept.items() if line}


def _known(samples: Sequence[Sample]) -> dict[str, str]:
    """The name of each sample by the texts that mean it: its name, and the last part of it where that is enough."""
    stems = Counter(sample.image.stem for sample in samples)
    known = {_composed(sample.image.stem): sample.name for sample in samples if stems[sample.image.stem] == 1}
    return known | {sample.name: sample.name for sample in samples}


def list_text(path: Path) -> str:
    """The text of a list.

    Raises:
        UserError: the file is missing or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("the list of images is not UTF-8 text", path, _FORM) from None
    except OSError as error:
        raise UserError(f"the list of images cannot be read ({error.strerror})", path, _FORM) from None


def _name_in(line: str, known: Mapping[str, str]) -> str | None:
    """The known name that a line means: that of the whole line, because names may hold spaces, or of its beginning."""
    ends = [found.start() for found in re.finditer(r"[\s,;]", line)]
    for end in (len(line), *reversed(ends)):
        if _goes_on(line[:end], line[end:]):
            continue
        parts = PureWindowsPath(_composed(line[:end])).parts  # splits at / and at \
        for length in range(len(parts), 0, -1):
            text = "/".join(parts[-length:])
            for name in (text, text.rpartition(".")[0]):
                if name in known:
                    return known[name]
    return None


def _goes_on(beginning: str, rest: str) -> bool:
    """Whether both are one name, as in `photo (2).jpg`. A second column has a folder or the name of the image in it."""
    if not rest.startswith(" ") or PureWindowsPath(beginning).suffix.lower() in IMAGE_SUFFIXES:
        return False
    if rest.lstrip().startswith(("#", "(")):
        return rest.lstrip().startswith("(")
    file = _TO_SUFFIX.match(rest)
    return file is not None and not re.search(r"[/\\]", file[0]) and PureWindowsPath(beginning).name not in file[0]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
