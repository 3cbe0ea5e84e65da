"""The pictures of a report, small enough for one file: every layer of an image as a data URI of its own."""

import base64
import io
from collections.abc import Iterator, Sequence
from itertools import tee
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.folder import Sample
from fewmask.data.store import FileStore
from fewmask.report.entries import Entry
from fewmask.shapes import IGNORE
from fewmask.use.deployed import labels_and_confidence

BUDGET = 4_300_000  # bytes of all pictures of the gallery together, so that the whole file stays below 5 MB
_SIDES = (480, 400, 336, 280, 224, 176, 128, 96)  # pixels of the longer side; the largest within the budget is taken
_QUALITY = 62
_RIGHT, _WRONG, _VOID = range(3)
_WRONG_COLOR, _VOID_COLOR = (213, 94, 0), (128, 128, 128)

Labels = NDArray[np.uint8]


class Layer(NamedTuple):
    """One picture of an image: `image`, `truth`, `confidence`, `errors`, or `prediction` with the number of the run."""

    key: str
    uri: str


class Seen(NamedTuple):
    """An image at the largest size of the gallery, with what every run made of it.

    Attributes:
        image: [h w 3].
        truth: [h w].
        predictions: [h w] of each run.
        confidence: [h w] of the first run, from 0 to 255.
    """

    image: NDArray[np.uint8]
    truth: Labels
    predictions: list[Labels]
    confidence: NDArray[np.uint8]


def look(entries: Sequence[Entry], samples: Sequence[Sample], classes: Classes) -> Iterator[Seen]:
    """What the shipped network of every run makes of the samples, which have masks; raises UserError as stores do."""
    store = FileStore(samples, classes)
    networks = {str(place): entry.model.networks[entry.model.shipped] for place, entry in enumerate(entries)}
    pictures, again = tee(store.picture(place) for place in range(len(store)))
    predicted = labels_and_confidence(networks, (picture.image for picture in pictures))
    for found, (image, truth) in zip(predicted, again, strict=True):
        assert truth is not None
        height, width = truth.shape
        small = _fitting(height, width, _SIDES[0])
        yield Seen(
            np.asarray(
                Image.fromarray(image.permute(1, 2, 0).numpy()).resize(small, Image.Resampling.LANCZOS, reducing_gap=3)
            ),
            _nearest(truth.numpy(), small),
            [_nearest(each.labels.cpu().numpy(), small) for each in found.values()],
            np.asarray(
                Image.fromarray((255 * found["0"].confidence).byte().cpu().numpy()).resize(
                    small, Image.Resampling.BILINEAR
                )
            ),
        )


def layers(seen: Sequence[Seen], classes: Classes, budget: int = BUDGET) -> list[list[Layer]]:
    """The layers of every image, at the largest size at which all of them together are within the budget."""
    found: list[list[Layer]] = []
    for side in _SIDES:
        found = [list(_layers(one, classes, side)) for one in seen]
        if sum(len(layer.uri) for each in found for layer in each) <= budget:
            break
    return found


def _layers(seen: Seen, classes: Classes, side: int) -> Iterator[Layer]:
    height, width = seen.truth.shape
    small = _fitting(height, width, side)
    photo = Image.fromarray(seen.image).resize(small, Image.Resampling.LANCZOS)
    yield Layer("image", photo_uri(photo))
    truth = _nearest(seen.truth, small)
    yield Layer("truth", class_uri(truth, classes))
    predictions = [_nearest(labels, small) for labels in seen.predictions]
    for number, labels in enumerate(predictions):
        yield Layer(f"prediction{number}", class_uri(labels, classes))
    yield Layer("confidence", photo_uri(Image.fromarray(seen.confidence).resize(small, Image.Resampling.BILINEAR)))
    for number, labels in enumerate(predictions[:2]):
        wrong = np.where(truth == IGNORE, _VOID, np.where(labels == truth, _RIGHT, _WRONG)).astype(np.uint8)
        yield Layer(f"errors{number}", _palette_uri(wrong, [(255, 255, 255), _WRONG_COLOR, _VOID_COLOR], clear=_RIGHT))


def photo_uri(image: Image.Image) -> str:
    """A photo as WebP."""
    content = io.BytesIO()
    image.save(content, format="WEBP", quality=_QUALITY, method=4)
    return _uri("image/webp", content.getvalue())


def class_uri(labels: Labels, classes: Classes) -> str:
    """Labels in the colors of their classes, without loss; a pixel that is ignored is clear."""
    shown = np.where(labels == IGNORE, len(classes), labels).astype(np.uint8)
    return _palette_uri(shown, [*classes.colors, (0, 0, 0)], clear=len(classes))


def pixels_uri(pixels: NDArray[np.uint8]) -> str:
    """A small picture [h w 3] as PNG, pixel by pixel."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", optimize=True)
    return _uri("image/png", content.getvalue())


def _palette_uri(indices: Labels, colors: Sequence[tuple[int, int, int]], clear: int) -> str:
    image = Image.fromarray(indices)
    image.putpalette([level for color in colors for level in color])
    content = io.BytesIO()
    image.save(content, format="PNG", optimize=True, transparency=clear)
    return _uri("image/png", content.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _fitting(height: int, width: int, side: int) -> tuple[int, int]:
    """(width, height) with the longer side at most `side`, and no side below 1."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _nearest(labels: Labels, size: tuple[int, int]) -> Labels:
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
