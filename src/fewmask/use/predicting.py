"""Predicts images in the hand, with any network; needs no torch."""

from typing import Any

import numpy as np

from fewmask.use.images import given_source, is_one_image
from fewmask.use.network import PLAIN, Network, augmented_views
from fewmask.use.prediction import Prediction
from fewmask.use.raster.source import WholeSource
from fewmask.use.streaming import Plan, Way, predict_in_tiles, predict_together


def predict_given(network: Network, images: Any, tta: bool = False) -> Any:
    """A `Prediction` for one image, or a list of them for several, which are given as in `Model.predict`."""
    if is_one_image(images):
        return predict_one(network, images, tta)
    return [predict_one(network, image, tta) for image in images]


def predict_one(network: Network, image: Any, tta: bool = False) -> Prediction:
    """The prediction for one image. It is held in memory as a whole; `fewmask predict` streams larger ones."""
    with given_source(image) as source:
        size = (source.height, source.width)
        plan = Plan(network, size, Way(views=augmented_views() if tta else PLAIN))
        if isinstance(source, WholeSource):
            pixels = source.pixels
        else:
            pixels = source.rows(0, source.height)
            source = WholeSource(pixels)
        if plan.is_whole:
            bands = list(next(predict_together(network, [pixels], plan)))
        else:
            bands = list(predict_in_tiles(network, source, plan))
    labels = np.concatenate([band.labels for band in bands])
    confidence = np.concatenate([band.confidence for band in bands])
    return Prediction(labels, confidence, network.classes, pixels)
