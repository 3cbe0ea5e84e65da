"""Files, PIL images and arrays become one kind of picture, or one line that says why not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewmask.errors import UserError
from fewmask.use.images import as_pixels, given_source
from toy import draw_scene, save

SCENE = draw_scene(np.random.default_rng(0))[0]


def test_every_form_of_an_image_is_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    save(SCENE, path)
    for form in (path, str(path), Image.fromarray(SCENE), SCENE, SCENE[:, ::-1][:, ::-1]):
        with given_source(form) as source:
            assert np.array_equal(source.rows(0, source.height), SCENE)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK"])
def test_pictures_of_8_bits_become_rgb_whatever_their_mode(mode: str) -> None:
    picture = Image.fromarray(SCENE).convert(mode)
    if mode == "P":
        picture.info["transparency"] = bytes(range(256))
    found = as_pixels(picture)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.asarray(Image.fromarray(SCENE).convert(mode).convert("RGB")))


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_picture_of_more_bits_is_refused_and_its_file_is_not(kind: type, tmp_path: Path) -> None:
    gray = SCENE[..., 0]
    with pytest.raises(UserError, match=r"has no 8-bit levels. Give its file"):
        as_pixels(Image.fromarray(gray.astype(kind)))
    save(gray.astype(np.uint16) * 257, tmp_path / "deep.png")
    with given_source(tmp_path / "deep.png") as source:
        assert np.array_equal(source.rows(0, source.height), np.repeat(gray[..., None], 3, axis=2))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_array_that_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"is no image. Give uint8 \[h, w, 3\] RGB"):
        as_pixels(image)
