"""Only regular files of the formats that are meant are opened, whatever their names say."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from fewmask.data.images import num_pictures, read_image, read_size
from fewmask.data.masks import read_mask
from fewmask.data.opening import FORMATS
from fewmask.data.sample import UNKNOWN_CLASSES
from fewmask.errors import UserError

READERS = (read_image, read_size, num_pictures, lambda path: read_mask(path, UNKNOWN_CLASSES))


def test_a_program_called_png_is_no_image_and_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: started.append(1))
    for name, kind in (("program.png", "EPS"), ("icons.png", "ICO"), ("game.png", "PCX")):
        Image.new("L", (16, 16)).convert("RGB").save(tmp_path / name, format=kind)
        for read in READERS:
            with pytest.raises(UserError, match=f"{name}: the file cannot be read: it is no image of a known format"):
                read(tmp_path / name)
    assert not started


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_of_every_format_that_is_meant_is_read_whatever_its_suffix(kind: str, tmp_path: Path) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this build of Pillow has no {kind}")
    Image.fromarray(np.full((6, 10, 3), 128, np.uint8)).save(tmp_path / "picture.jpg", format=kind)
    assert read_size(tmp_path / "picture.jpg") == (6, 10)
    assert abs(read_image(tmp_path / "picture.jpg").float().mean() - 128) < 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes as files")
def test_a_pipe_is_not_waited_for_nor_is_a_device_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "device.png"):
        for read in READERS:
            with pytest.raises(UserError, match=f"{name}: the file cannot be read: it is a pipe or a device"):
                read(tmp_path / name)
