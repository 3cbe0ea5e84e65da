"""A trained model: load one run or several, predict images, score a split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, overload

import torch

from fewmask.data.classes import Classes
from fewmask.errors import UserError, in_command
from fewmask.models.build import build_net
from fewmask.models.committee import Committee
from fewmask.models.segnet import SegNet
from fewmask.recipe import Recipe
from fewmask.run.checkpoint import load_state
from fewmask.run.folder import RunFolder
from fewmask.use.deployed import Deployed
from fewmask.use.device import choose_device
from fewmask.use.evaluate import SCORE_KEYS, Tick, evaluate, no_tick
from fewmask.use.images import AnyImage
from fewmask.use.predicting import predict_given, predict_one
from fewmask.use.prediction import Prediction
from fewmask.use.torch_network import TorchNetwork

COMMITTEE = "committee"
"""The name of several runs that predict together."""


class Model:
    """The networks of a finished run, or of several that predict together.

    Attributes:
        run: the folder of the run; of several, the first.
        recipe: the recipe of the run.
        classes: names and colors of the classes.
        networks: every network of the run by its name; of several runs, the committee and the one that each ships.
        shipped: the name of the network that predicts.
        also: the folders of the other runs.
    """

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        classes: Classes,
        networks: dict[str, Deployed],
        also: Sequence[RunFolder] = (),
    ) -> None:
        self.run, self.recipe, self.classes, self.networks, self.also = run, recipe, classes, networks, tuple(also)
        self.shipped = COMMITTEE if self.also else recipe.networks[0]
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
        """Scores of every network on a split at full label size.

        A single run keeps scores on its own data; a line on stderr says so if it cannot.

        The splits are `val`, `test`, `train` and `unlabeled`: the train images whose masks no run learned from.

        Returns:
            `{"miou", "per_class", "pixel_accuracy"}` of the network that predicts, `split`, `images` (their number),
            `predictor` (the name of that network), `selected` (the step that val selected; None if the last step is the
            result), `networks` (the names of all), and the scores of each network under its name. IoU is in [0, 1], and
            None for a class that the masks do not hold.
        """
        return evaluate(self.run, self.recipe, self.networks, self.shipped, split, tick, data, self.also)


def load(path: str | Path, device: str = "auto", gpu: int | None = None, also: Sequence[str | Path] = ()) -> Model:
    """The trained model of a run folder, or of several that predict together.

    Args:
        path: the run folder.
        device: cpu, cuda, mps, or auto.
        gpu: the number of the GPU, if the device is one; None: the current one.
        also: further run folders. The network that each run ships is a member of the committee, which predicts the mean
            of its members' probabilities.

    Raises:
        UserError: there is no run, it is not finished, one of its files is lost or damaged, or the runs have other
            classes or see images at other sizes.
    """
    first = _load_run(Path(path), device, gpu)
    if not also:
        return first
    models = [first, *(_load_run(Path(other), device, gpu) for other in also)]
    for model in models[1:]:
        _check_fits(model, first)
    if len({model.run.path.resolve() for model in models}) < len(models):
        raise UserError("a run is named twice", "--also", "Name every run once.")
    members = {_member_name(model.run): model.networks[model.shipped] for model in models}
    together = Committee([member.net for member in members.values()])
    committee = Deployed(cast(SegNet, together), first.recipe.data.resize, first.classes).eval()
    return Model(
        first.run, first.recipe, first.classes, {COMMITTEE: committee, **members}, [model.run for model in models[1:]]
    )


def _member_name(run: RunFolder) -> str:
    """The path of a run; a bare name that means something else among the scores begins with a dot."""
    path = str(run.path)
    return f"./{path}" if path in (COMMITTEE, *SCORE_KEYS) else path


def _check_fits(model: Model, first: Model) -> None:
    """Raises UserError if a model cannot predict together with the first."""
    if model.classes.names != first.classes.names:
        fix = f"Both need the classes of {first.run.path}, in this order: {', '.join(first.classes.names)}."
        raise UserError("the run has other classes", model.run.path, fix)
    own, other = model.recipe.data.resize, first.recipe.data.resize
    if own != other:
        fix = f"Both need the data.resize of {first.run.path}, which is {other}."
        raise UserError(f"the run sees images at another size (data.resize={own})", model.run.path, fix)


def _load_run(path: Path, device: str, gpu: int | None) -> Model:
    run = RunFolder(path)
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
