"""Pictures at training size, the same with and without a cache."""

import numpy as np
import pytest
import torch
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample, read_folder
from fewmask.data.store import PictureStore, fits_in_memory, resized_image, resized_labels, target_size, training_sizes
from fewmask.errors import UserError

CLASSES = Classes(names=("ground", "box"))


@pytest.fixture
def folder(dataset):
    return read_folder(dataset)


def test_pictures_are_the_files_in_order(folder):
    store = PictureStore(folder.train, folder.classes, None, cached=False)
    assert len(store) == len(folder.train)
    for picture, sample in zip([store[index] for index in range(len(store))], folder.train, strict=True):
        assert np.array_equal(picture.image.permute(1, 2, 0), np.asarray(Image.open(sample.image)))
        assert np.array_equal(picture.labels, np.asarray(Image.open(sample.mask)))


def test_a_cached_store_gives_the_same_and_reads_once(folder):
    plain, cached = (PictureStore(folder.train, folder.classes, 0.5, cached) for cached in (False, True))
    for index in range(len(plain)):
        assert all(torch.equal(*pair) for pair in zip(plain[index], cached[index], strict=True))
        assert cached[index] is cached[index]
        assert plain[index] is not plain[index]


def test_filling_decodes_every_picture_in_order(folder):
    store = PictureStore(folder.train, folder.classes, None, cached=True)
    filled = list(store.fill())
    assert [store[index] for index in range(len(store))] == filled
    assert all(store[index] is picture for index, picture in enumerate(filled))


def test_an_unlabeled_picture_has_no_labels(folder):
    assert PictureStore(folder.unlabeled, folder.classes, None, cached=False)[0].labels is None


@pytest.mark.parametrize(
    ("resize", "size"),
    [(None, (48, 64)), (0.5, (24, 32)), (1.5, (72, 96)), ((30, 20), (30, 20)), (1 / 3, (16, 21))],
)
def test_image_and_labels_are_resized_alike(folder, resize, size):
    picture = PictureStore(folder.train, folder.classes, resize, cached=False)[0]
    assert picture.image.shape == (3, *size)
    assert picture.labels.shape == size
    assert training_sizes([folder.train[0].image], resize) == [target_size((48, 64), resize)] == [size]


def test_a_size_is_at_least_one_pixel():
    assert target_size((48, 64), 0.001) == (1, 1)


def test_an_image_of_a_single_pixel_is_refused_unless_it_was_one():
    assert resized_image(torch.zeros(3, 1, 1, dtype=torch.uint8), 0.5).shape == (3, 1, 1)
    with pytest.raises(UserError, match=r"data.resize: an image shrinks to a single pixel"):
        resized_image(torch.zeros(3, 48, 64, dtype=torch.uint8), 0.001)


def test_resized_labels_are_classes_that_were_there():
    labels = torch.tensor([[0, 0, 9, 9], [0, 0, 9, 9]], dtype=torch.uint8)
    assert resized_labels(labels, 0.5).tolist() == [[0, 9]]
    assert resized_labels(labels, 2.0).unique().tolist() == [0, 9]


def test_resized_images_are_means():
    image = torch.tensor([[0, 0, 200, 200], [100, 100, 200, 200]], dtype=torch.uint8).expand(3, -1, -1).contiguous()
    assert resized_image(image, 0.5).float().mean().item() == pytest.approx(125, abs=2)


def test_a_mask_of_another_size_is_named(tmp_path):
    image, mask = tmp_path / "cat.png", tmp_path / "cat_mask.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(image)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(mask)
    with pytest.raises(UserError, match=r"cat_mask\.png: the mask is 5 x 4 but its image cat\.png is 6 x 4") as caught:
        PictureStore([Sample("cat", image, mask)], CLASSES, None, cached=True)[0]
    assert caught.value.fix


def test_what_fits_in_memory_is_cached():
    assert fits_in_memory([(100, 100)] * 10)
    assert not fits_in_memory([(100_000, 100_000)] * 1000)
    assert not fits_in_memory([(100, 100)], share=0.0)
