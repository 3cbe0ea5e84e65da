"""A few words for the files of a dataset folder, which change when the data change."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from fewmask.data.folder import Folder, Sample


def inventory(folder: Folder) -> dict[str, str]:
    """The classes by name, and for each split that has images, their number and a digest.

    The digest is of the names of the samples and of the sizes of their files in bytes. It stays when the folder moves,
    and changes when an image or a mask is added, removed, or saved with another size.
    """
    splits = {"train": folder.train, "unlabeled": folder.unlabeled, "val": folder.val, "test": folder.test}
    found = {name: f"{len(samples)} images, {_digest(samples)}" for name, samples in splits.items() if samples}
    return {"classes": ", ".join(folder.classes.names)} | found


def _digest(samples: Sequence[Sample]) -> str:
    digest = blake2b(digest_size=6)
    for sample in samples:
        digest.update(repr((sample.name, *_sizes(sample))).encode())
    return digest.hexdigest()


def _sizes(sample: Sample) -> Iterator[int | None]:
    for file in (sample.image, sample.mask):
        yield None if file is None else _size(file)


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:  # whoever reads the file says what is wrong
        return None
