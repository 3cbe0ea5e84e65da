"""Training a semantic segmentation model from a handful of labeled masks and many unlabeled images.

import fewmask
run = fewmask.train("DATA", "runs/mine", labels="1/30")
labels = fewmask.load(run).predict("street.jpg").labels
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fewmask.errors import UserError
from fewmask.faults import machine_faults_named

if TYPE_CHECKING:
    from fewmask.run.folder import RunFolder
    from fewmask.use.model import Model

__all__ = ["UserError", "load", "resume", "train"]


def train(
    source: str | Path,
    out: str | Path,
    method: str | None = None,
    labels: str | int | None = None,
    pretrain: str | None = None,
    settings: Mapping[str, Any] | None = None,
    baseline: bool = False,
    preset: str | None = None,
    folds: int | None = None,
    final: bool = True,
) -> Path:
    """Trains a model and returns its run folder, as `fewmask train` does; the report leaves out what the doctor finds.

    Args:
        source: a dataset folder, or a recipe .yaml file.
        out: the run folder to make; the folder must not hold a run.
        method: a name such as `supervised`; a wrong name lists them all. None: the recipe's, or the default.
        labels: which masks to use: `1/30`, a count, or a file of names. None: the recipe's choice, or every mask.
        pretrain: `label_contrast` puts a stage of it before the method; the number of steps in all stays the same.
        settings: any setting of the recipe by its path or in its block: `{"training.steps": 2000}`, or
            `{"training": {"steps": 2000}}`. The value None removes what the recipe has: `{"data.labels": None}` for all
            masks.
        baseline: also train the supervised baseline in `out/baseline`, and print the comparison on val.
        preset: `small`, `base` or `large` gives network, crops and steps that are named nowhere else. None: for a
            folder `small` without a GPU and `base` with one, and none for a recipe file.
        folds: where there is no val, train so many models in `out/folds`, each on a part of the labeled images, and
            score each on the others.
        final: after the folds, train on all labeled images in `out`. Without it, `out` holds no model.

    Raises:
        UserError: the data, the recipe or a setting cannot work; the error says in one line what to do.
    """
    from fewmask.study.train import train_as_asked
    from fewmask.training.preset import recipe_to_train

    named = {"method.name": method, "data.labels": labels, "pretrain": pretrain}
    changes = {key: value for key, value in named.items() if value is not None} | dict(settings or {})
    with machine_faults_named():
        recipe = recipe_to_train(Path(source), changes, preset)
        return _with_report(train_as_asked(recipe, Path(out), baseline, folds, final))


def resume(run: str | Path) -> Path:
    """Goes on with an interrupted run, as `fewmask train --resume` does; on a CPU the result is the same to the bit."""
    from fewmask.study.train import go_on

    with machine_faults_named():
        return _with_report(go_on(Path(run)))


def _with_report(run: "RunFolder") -> Path:
    """The path of a finished run, whose report is written if it has none yet; folds alone have none.

    The doctor is left out: the processes that he may start would run a script again that does not guard its main part.
    """
    from rich.console import Console

    from fewmask.report import write_report_of

    if run.is_begun:
        write_report_of(run, Console(stderr=True))
    return run.path


def load(run: str | Path, device: str = "auto", also: Sequence[str | Path] = ()) -> "Model":
    """The trained model of a run folder, or of an exported .onnx file, with `.predict(image)`.

    A model of a run folder also has `.evaluate("test")`. With further run folders in `also`, the runs predict together,
    by the mean of their probabilities. An .onnx file is loaded without torch, and alone.
    """
    if Path(run).suffix.lower() == ".onnx" and not also:
        from fewmask.use.onnx_network import OnnxNetwork

        return cast("Model", OnnxNetwork(Path(run), device))
    from fewmask.use.model import load as load_model

    with machine_faults_named():
        return load_model(run, device, also=also)
