"""Pictures from files: decoded at every access, at training size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.folder import Folder, Sample, read_folder
from fewmask.data.store import FileStore, Resize, every_picture
from fewmask.errors import UserError
from toy import read, save

CLASSES = Classes(names=("ground", "box"))


@pytest.fixture
def folder(dataset: Path) -> Folder:
    return read_folder(dataset)


def test_pictures_are_the_files_in_order(folder: Folder) -> None:
    store = FileStore(folder.train, folder.classes)
    assert len(store) == len(folder.train)
    for place, sample in enumerate(folder.train):
        assert sample.mask is not None
        image, labels = store.picture(place)
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(read(sample.image)))
        assert np.array_equal(labels, np.asarray(read(sample.mask)))  # type: ignore[arg-type]


def test_every_access_decodes_anew(folder: Folder) -> None:
    store = FileStore(folder.train, folder.classes)
    assert store.picture(0) is not store.picture(0)


def test_every_picture_comes_once_and_in_order(folder: Folder) -> None:
    store = FileStore(folder.train, folder.classes, 0.5)
    pictures = list(every_picture(store))
    assert len(pictures) == len(store)
    for place, picture in enumerate(pictures):
        assert picture.image.equal(store.picture(place).image)


def test_an_unlabeled_picture_has_no_labels(folder: Folder) -> None:
    assert FileStore(folder.unlabeled, folder.classes).picture(0).labels is None


@pytest.mark.parametrize(
    ("resize", "size"),
    [(None, (48, 64)), (0.5, (24, 32)), (1.5, (72, 96)), ((30, 20), (30, 20)), (1 / 3, (16, 21))],
)
def test_image_and_labels_are_resized_alike_to_the_size_that_the_headers_foretell(
    folder: Folder, resize: Resize, size: tuple[int, int]
) -> None:
    store = FileStore(folder.train, folder.classes, resize)
    picture = store.picture(0)
    assert picture.labels is not None
    assert picture.image.shape == (3, *size)
    assert picture.labels.shape == size
    assert store.sizes() == [size] * len(store)


def test_sizes_are_read_without_decoding_a_pixel(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    save(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8), path)
    path.write_bytes(path.read_bytes()[:200])
    store = FileStore([Sample("cut", path, None)], CLASSES)
    assert store.sizes() == [(40, 50)]
    with pytest.raises(UserError, match=r"cut\.png: the file cannot be read"):
        store.picture(0)


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    image, mask = tmp_path / "cat.png", tmp_path / "cat_mask.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(image)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(mask)
    with pytest.raises(UserError, match=r"cat_mask\.png: the mask is 5 x 4 but its image cat\.png is 6 x 4") as caught:
        FileStore([Sample("cat", image, mask)], CLASSES).picture(0)
    assert caught.value.fix
