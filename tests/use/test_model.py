"""A trained model in the hand: every form of an image, scores against a slow twin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fewmask
from fewmask.data.folder import Sample, read_folder
from fewmask.errors import UserError
from fewmask.models.build import build_net
from fewmask.recipe import make_recipe
from fewmask.use.deployed import predicted_labels, probabilities
from fewmask.use.model import Model, score
from toy import NAMES, draw_scene, make_dataset, read, save, write_recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Model:
    folder = tmp_path_factory.mktemp("model")
    recipe = write_recipe(folder / "recipe.yaml", dataset)
    return fewmask.load(fewmask.train(recipe, folder / "run"))


def test_every_form_of_an_image_gives_the_same_prediction(model: Model, dataset: Path) -> None:
    path = dataset / "test" / "images" / "test0.png"
    picture = read(path)
    forms: list[Any] = [path, str(path), picture, np.asarray(picture), np.asarray(picture)[:, ::-1][:, ::-1]]
    first, *others = model.predict(forms)
    assert first.labels.shape == first.confidence.shape == (48, 64)
    assert (first.labels.dtype, first.confidence.dtype) == (np.uint8, np.float32)
    for other in others:
        assert np.array_equal(other.labels, first.labels)
        assert np.array_equal(other.confidence, first.confidence)


def test_confidence_is_the_probability_of_the_label(model: Model, dataset: Path) -> None:
    prediction = model.predict_one(dataset / "test" / "images" / "test0.png")
    assert prediction.confidence.min() >= 1 / len(NAMES)
    assert prediction.confidence.max() <= 1
    image = torch.from_numpy(np.array(read(dataset / "test" / "images" / "test0.png"))).permute(2, 0, 1)
    scores = probabilities(model.nets["student"], image, None)
    assert torch.allclose(scores.sum(dim=0), torch.ones(48, 64))
    assert np.array_equal(scores.argmax(dim=0).numpy(), prediction.labels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK"])
def test_pictures_of_8_bits_are_predicted_whatever_their_mode(mode: str, model: Model) -> None:
    picture = Image.fromarray(draw_scene(np.random.default_rng(0))[0]).convert(mode)
    if mode == "P":
        picture.info["transparency"] = bytes(range(256))
    assert model.predict_one(picture).labels.shape == (48, 64)


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_picture_of_more_bits_is_refused_and_its_file_is_not(kind: type, model: Model, tmp_path: Path) -> None:
    gray = draw_scene(np.random.default_rng(0))[0][..., 0]
    picture = Image.fromarray(gray.astype(kind))
    with pytest.raises(UserError, match=r"has no 8-bit levels. Give its file"):
        model.predict_one(picture)
    if kind is np.uint16:
        save(gray.astype(np.uint16) * 257, tmp_path / "deep.png")
        assert np.array_equal(model.predict_one(tmp_path / "deep.png").labels, model.predict_one(gray_rgb(gray)).labels)


def gray_rgb(gray: np.ndarray) -> np.ndarray:
    return np.stack([gray] * 3, axis=-1)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_array_that_is_no_image_is_refused(image: np.ndarray, model: Model) -> None:
    with pytest.raises(UserError, match=r"is no image. Give uint8 \[h, w, 3\] RGB"):
        model.predict([image])


def test_one_image_instead_of_a_list_is_refused(model: Model, dataset: Path) -> None:
    with pytest.raises(UserError, match=r"this is one image, not a list. Write predict\(\[image\]\)"):
        model.predict(str(dataset / "test" / "images" / "test0.png"))
    images: list[Any] = [np.zeros((4, 4, 3), np.uint8), Image.new("RGB", (4, 4))]
    for image in images:
        with pytest.raises(UserError, match=r"this is one image, not a list"):
            model.predict(image)


def test_loaded_model_is_that_of_the_run_and_in_evaluation_mode(model: Model) -> None:
    assert set(model.nets) == {"student", "teacher"}
    assert not any(module.training for net in model.nets.values() for module in net.modules())
    assert model.classes.names == NAMES


def test_evaluation_equals_a_slow_twin(model: Model, dataset: Path) -> None:
    result = model.evaluate("val")
    truth = np.stack([np.asarray(read(path)) for path in sorted((dataset / "val" / "masks").iterdir())])
    images = sorted((dataset / "val" / "images").iterdir())
    labels = np.stack([prediction.labels for prediction in model.predict(images)])
    for index, name in enumerate(NAMES):
        both, either = ((truth == index) & (labels == index)).sum(), ((truth == index) | (labels == index)).sum()
        assert result["per_class"][name] == pytest.approx(both / either)


def test_ignored_pixels_do_not_count(model: Model, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data")
    masks = sorted((data / "val" / "masks").iterdir())
    prediction = model.predict_one(data / "val" / "images" / masks[0].name).labels
    right = np.where(prediction == np.asarray(read(masks[0])), prediction, 255).astype(np.uint8)
    assert (right == 255).any()
    save(right, masks[0])
    for mask in masks[1:]:
        save(np.full((48, 64), 255, np.uint8), mask)
    scores = model.evaluate("val", data=data)
    assert scores["pixel_accuracy"] == 1.0
    assert scores["miou"] == 1.0


def test_scores_are_at_the_full_size_of_the_labels_whatever_the_training_size(tmp_path: Path) -> None:
    image, labels = draw_scene(np.random.default_rng(0), 50, 70)
    save(image, tmp_path / "train" / "images" / "a.png")
    save(labels, tmp_path / "train" / "masks" / "a.png")
    (tmp_path / "dataset.yaml").write_text(f"names: [{', '.join(NAMES)}]\n")
    folder = read_folder(tmp_path)
    recipe = make_recipe({"data": {"root": str(tmp_path), "resize": 0.5}, "method": "supervised"})
    net = build_net(recipe.net.model_copy(update=TINY), len(NAMES))
    scores = score({"student": net}, folder.train, folder.classes, recipe)["student"]
    expected = probabilities(net, torch.from_numpy(image).permute(2, 0, 1), 0.5).argmax(dim=0).numpy()
    assert scores.pixel_accuracy == pytest.approx((expected == labels).mean())


TINY = {
    "arch": "unet",
    "encoder": "test_resnet",
    "weights": "none",
    "options": {"encoder_depth": 3, "decoder_channels": [32, 16, 8]},
}


def test_images_of_mixed_sizes_are_predicted_one_by_one_or_together_alike(model: Model) -> None:
    generator = np.random.default_rng(0)
    sizes = [(48, 64), (48, 64), (30, 40), (48, 64), (48, 64), (48, 64)]
    images = [torch.from_numpy(draw_scene(generator, *size)[0]).permute(2, 0, 1) for size in sizes]
    together = list(predicted_labels(model.nets, images, None, batch=2))
    assert [tuple(labels["student"].shape) for labels in together] == sizes
    for image, labels in zip(images, together, strict=True):
        (alone,) = predicted_labels(model.nets, [image], None)
        assert (alone["student"] == labels["student"]).float().mean() > 0.999  # ties in float32 may fall otherwise


def test_of_large_images_few_are_predicted_together(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewmask.use.deployed._LOGITS", 2 * 48 * 64 * len(NAMES))
    sizes: list[int] = []
    net = model.nets["student"]
    counting = net.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    images = [torch.zeros(3, *size, dtype=torch.uint8) for size in [(48, 64)] * 3 + [(96, 128)] * 2]
    assert len(list(predicted_labels({"student": net}, images, None))) == 5
    counting.remove()
    assert sizes == [2, 1, 1, 1]


def test_score_reads_every_image_once_and_tells_how_many_there_are(model: Model, dataset: Path) -> None:
    told: list[int] = []
    samples: tuple[Sample, ...] = read_folder(dataset).val
    score(model.nets, samples, model.classes, model.recipe, told.append)
    assert told == [3, 3, 3]
