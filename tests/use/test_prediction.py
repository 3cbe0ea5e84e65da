"""A prediction shows itself, and every form of an image gives the same one."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy_network import NearestColor, colored, random_labels
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.errors import UserError
from fewmask.use.predicting import predict_given
from fewmask.use.prediction import Prediction
from toy import save, save_lying

LABELS = random_labels(20, 30)
IMAGE = colored(LABELS)


def test_one_image_gives_a_prediction_and_several_a_list(tmp_path: Path) -> None:
    save(IMAGE, tmp_path / "a.png")
    save_lying(IMAGE, tmp_path / "b.png")
    tensor = torch.from_numpy(IMAGE).permute(2, 0, 1)
    with Image.open(tmp_path / "b.png") as lying:
        forms: list[Any] = [tmp_path / "a.png", str(tmp_path / "b.png"), lying, IMAGE, tensor, tensor.float() / 255]
        for form in forms:
            assert np.array_equal(predict_given(NearestColor(), form).labels, LABELS)
        assert len(predict_given(NearestColor(), forms)) == len(forms)
    assert len(predict_given(NearestColor(), torch.stack([tensor, tensor]))) == 2


@pytest.mark.parametrize("tensor", [torch.zeros(4, 4), torch.zeros(3, 0, 4), torch.full((3, 4, 4), 255.0)])
def test_a_tensor_that_is_no_image_is_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"is no image\. Give \[3, h, w\] RGB: uint8, or floats in \[0, 1\]"):
        predict_given(NearestColor(), tensor)


def test_a_prediction_shows_itself_in_a_notebook() -> None:
    classes = Classes(names=("<b>ground", "box"), colors=((1, 2, 3), (250, 0, 0)))
    labels = np.zeros((1500, 4), np.uint8)
    labels[0] = 1
    prediction = Prediction(labels, np.full((1500, 4), 0.75, np.float32), classes, np.zeros((1500, 4, 3), np.uint8))
    with Image.open(io.BytesIO(prediction._repr_png_())) as shown:
        assert max(shown.size) == 1024
    html = prediction._repr_html_()
    assert "&lt;b&gt;ground" in html
    assert "<b>" not in html
    assert "mean confidence 75 %" in html
    assert prediction.shares() == pytest.approx({"<b>ground": 1499 / 1500, "box": 1 / 1500})
    assert np.asarray(prediction.overlay(1.0))[0, 0].tolist() == [250, 0, 0]
    assert np.asarray(prediction.overlay())[0, 0].tolist() == [125, 0, 0]
    assert np.array_equal(np.asarray(prediction.mask()), labels)
    with pytest.raises(ValueError, match="opacity is 2"):
        prediction.overlay(2)
