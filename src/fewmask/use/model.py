"""A trained model: load a run, predict images, score a split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fewmask.data.classes import Classes
from fewmask.errors import UserError, in_command
from fewmask.models.build import build_net
from fewmask.recipe import Recipe
from fewmask.run.checkpoint import load_state
from fewmask.run.folder import RunFolder
from fewmask.use.deployed import Deployed, probabilities
from fewmask.use.device import choose_device
from fewmask.use.evaluate import Tick, evaluate, no_tick
from fewmask.use.images import AnyImage, as_tensor, check_is_list


class Prediction(NamedTuple):
    """The prediction for one image: labels uint8 [h w], and confidence float32 [h w] in [0, 1]."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]


class Model:
    """The networks of a finished run.

    Attributes:
        run: the folder of the run.
        recipe: the recipe of the run.
        classes: names and colors of the classes.
        networks: every network of the run by its name.
        shipped: the name of the network that predicts.
    """

    def __init__(self, run: RunFolder, recipe: Recipe, classes: Classes, networks: dict[str, Deployed]) -> None:
        self.run, self.recipe, self.classes, self.networks = run, recipe, classes, networks
        self.shipped = recipe.networks[0]

    def predict(self, images: Sequence[AnyImage]) -> list[Prediction]:
        """Labels and confidence of images that are given as files, PIL images, or uint8 RGB arrays [h w 3]."""
        check_is_list(images)
        return [self.predict_one(image) for image in images]

    def predict_one(self, image: AnyImage) -> Prediction:
        """Labels and confidence of one image, which is given as in `predict`."""
        confidence, labels = probabilities(self.networks[self.shipped], as_tensor(image)).max(dim=0)
        return Prediction(labels.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy())

    def evaluate(self, split: str, tick: Tick = no_tick, data: Path | None = None) -> dict[str, Any]:
        """Scores of every network on `val`, `test` or `train` at full label size; the run keeps scores on its own data.

        Returns:
            `{"miou", "per_class", "pixel_accuracy"}` of the network that predicts, `split`, `images` (their number),
            `predictor` (the name of that network), `selected` (the step that val selected; None if the last step is the
            result), `networks` (the names of all), and the scores of each network under its name. IoU is in [0, 1], and
            None for a class that the masks do not hold.
        """
        return evaluate(self.run, self.recipe, self.networks, split, tick, data)


def load(path: str | Path, device: str = "auto") -> Model:
    """The trained model of a run folder.

    Raises:
        UserError: there is no run, it is not finished, or one of its files is lost or damaged.
    """
    run = RunFolder(Path(path))
    recipe, classes = run.recipe(), run.classes()
    device = choose_device(device, "--device")
    if not run.is_finished:
        raise UserError(
            "the training is not finished", run.path, f"Finish it: fewmask train --resume {in_command(run.path)}"
        )
    networks = {}
    for name in run.networks():
        bare = build_net(recipe.net.model_copy(update={"weights": "none"}), len(classes))
        net = recipe.method_type.fitted(recipe.method, bare)
        load_state(run.model_file(name), net)
        networks[name] = Deployed(net.to(device), recipe.data.resize, classes).eval()
    return Model(run, recipe, classes, networks)
