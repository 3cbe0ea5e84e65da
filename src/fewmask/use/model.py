"""A trained model: load a run, predict images, score a split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch

from fewmask.data.classes import Classes
from fewmask.errors import UserError, in_command
from fewmask.models.build import build_net
from fewmask.recipe import Recipe
from fewmask.run.checkpoint import load_state
from fewmask.run.folder import RunFolder
from fewmask.use.deployed import Deployed
from fewmask.use.device import choose_device
from fewmask.use.evaluate import Tick, evaluate, no_tick
from fewmask.use.images import AnyImage
from fewmask.use.predicting import predict_given, predict_one
from fewmask.use.prediction import Prediction
from fewmask.use.torch_network import TorchNetwork


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
        self._in_use: dict[str, TorchNetwork] = {}

    @property
    def network(self) -> TorchNetwork:
        """The shipped network as `predict_files` takes it."""
        if self.shipped not in self._in_use:
            self._in_use[self.shipped] = TorchNetwork(self.networks[self.shipped])
        return self._in_use[self.shipped]

    @overload
    def predict(self, images: AnyImage, tta: bool = False) -> Prediction: ...

    @overload
    def predict(self, images: Sequence[AnyImage], tta: bool = False) -> list[Prediction]: ...

    def predict(self, images: AnyImage | Sequence[AnyImage], tta: bool = False) -> Prediction | list[Prediction]:
        """The prediction for one image, or a list of predictions for several.

        Args:
            images: a file, a PIL image (turned upright by its EXIF orientation), a uint8 RGB array [h w 3], or a tensor
                [3 h w], uint8 or floats in [0, 1]; or a list of these.
            tta: average over mirrored and scaled copies (test-time augmentation); it takes about 6 times as long.

        Raises:
            UserError: a file cannot be read, or an array is no image.
        """
        found: Prediction | list[Prediction] = predict_given(self.network, images, tta)
        return found

    def predict_one(self, image: AnyImage) -> Prediction:
        """The prediction for one image, which is given as in `predict`."""
        return predict_one(self.network, image)

    def evaluate(self, split: str, tick: Tick = no_tick, data: Path | None = None) -> dict[str, Any]:
        """Scores of every network on a split at full label size; the run keeps scores on its own data.

        The splits are `val`, `test`, `train` and `unlabeled`: the train images whose masks the run did not learn from.

        Returns:
            `{"miou", "per_class", "pixel_accuracy"}` of the network that predicts, `split`, `images` (their number),
            `predictor` (the name of that network), `selected` (the step that val selected; None if the last step is the
            result), `networks` (the names of all), and the scores of each network under its name. IoU is in [0, 1], and
            None for a class that the masks do not hold.
        """
        return evaluate(self.run, self.recipe, self.networks, split, tick, data)


def load(path: str | Path, device: str = "auto", gpu: int | None = None) -> Model:
    """The trained model of a run folder.

    Args:
        path: the run folder.
        device: cpu, cuda, mps, or auto.
        gpu: the number of the GPU, if the device is one; None: the current one.

    Raises:
        UserError: there is no run, it is not finished, or one of its files is lost or damaged.
    """
    run = RunFolder(Path(path))
    recipe, classes = run.recipe(), run.classes()
    device = choose_device(device, "--device")
    if device == "cuda" and gpu is not None:
        device = f"cuda:{gpu % torch.cuda.device_count()}"
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
