"""A method in five lines, on two small images: what the tests of every method start from."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from fewmask.augment import Augmentation
from fewmask.data.batch import Batch, Labeled, Unlabeled
from fewmask.methods import ContrastConfig, Method, Now, Pretraining, Stage, Tools
from fewmask.models.build import NetConfig
from fewmask.ops import groups
from fewmask.ops.draw import seed_draws
from fewmask.recipe import TrainingConfig
from fewmask.shapes import IGNORE
from fewmask.training import static
from fewmask.training.optimizers import build_optimizers
from fewmask.training.static import Operation, StepRecord, own_file, record
from fewmask.training.trainer import Trainer

NUM_CLASSES = 4
HEIGHT, WIDTH = 32, 48

OFF = Augmentation(
    flip_probability=0, scale_probability=0, jitter_probability=0, blur_probability=0, classmix_probability=0
)
"""Views that are the images."""

SETTLED = Now(9, 10, "train", phase=99, progress=torch.tensor(0.9, dtype=torch.float64))
"""The last of ten steps, in a phase that comes after all others."""


def last_steps(method: Method) -> list[Now]:
    """The last of ten steps of every stage."""
    return [method.now(9, 10, stage.name) for stage in method.course()]


_COLORS = np.array([[0.4, 0.4, 0.4], [0.9, 0.2, 0.2], [0.2, 0.8, 0.2], [0.2, 0.2, 0.9]])


def build(method: type[Any], net: NetConfig, *, seed: int = 0, num_labeled: int = 4, **settings: Any) -> Any:
    """The method on a small network, in train mode."""
    torch.manual_seed(seed)
    config = method.Config(**method.toy | settings)
    tools = Tools(net, NUM_CLASSES, num_labeled, num_unlabeled=8 * method.needs(config).unlabeled)
    return method(config, tools).train()


def toy_batch(method: type[Any], seed: int = 0, num_images: int = 2) -> Any:
    """Colored boxes on a gray ground; by numpy, whose draws are the same on every machine. The source is darker."""
    generator, config = np.random.default_rng(seed), method.Config(**method.toy)
    batch = Batch(Labeled(*_scenes(generator, num_images)), None)
    if method.needs(config).unlabeled:
        images, labels = _scenes(generator, num_images)
        batch = batch._replace(unlabeled=Unlabeled(images, torch.ones_like(labels, dtype=torch.bool)))
    if method.needs(config).source == "required":
        images, labels = _scenes(generator, num_images)
        both = Labeled(torch.cat([batch.labeled.images, 0.7 * images]), torch.cat([batch.labeled.labels, labels]))
        batch = batch._replace(labeled=both, num_source=num_images)
    return batch


def train(method: Method, batch: Batch, num_steps: int) -> Iterator[dict[str, float]]:
    """Takes `num_steps` steps through the method's stages and gives the losses of each."""
    trainer = trainer_of(method)
    for stage in method.course():
        begin(method, stage, batch)
        steps = round(stage.share * num_steps)
        for step in range(steps):
            seed_draws(step, torch.device("cpu"))
            losses = trainer.step(method.now(step, steps, stage.name), batch).losses
            yield {name: loss.item() for name, loss in losses.items()}


def trainer_of(method: Method, rate: float = 0.01) -> Trainer:
    """A trainer with one SGD over all that trains, critics too, so that ten steps move everything."""
    parameters = [parameter for group in method.parameter_groups() for parameter in group.parameters]
    return Trainer(method, [torch.optim.SGD(parameters, lr=rate, momentum=0.9)], TrainingConfig())


def group_named(method: Method, name: str) -> list[nn.Parameter]:
    """The parameters of the group of that name."""
    (group,) = (group for group in method.parameter_groups() if group.name == name)
    return group.parameters


def critics(method: Method) -> list[nn.Parameter]:
    """The parameters that play against the student's."""
    return group_named(method, "critics")


def pretrained(method: Any, **settings: Any) -> Any:
    """The method after a stage of label-based contrast."""
    config = ContrastConfig(**{"dim": 16} | settings)
    method.prelude = Pretraining(config, method.student.feature_dim, NUM_CLASSES)
    return method


def begin(method: Method, stage: Stage, batch: Batch) -> None:
    """Begins a stage as the engine does, with the unlabeled images of the batch as the pool."""
    pool = (
        []
        if batch.unlabeled is None
        else [Unlabeled(*(part[None] for part in one)) for one in zip(*batch.unlabeled, strict=True)]
    )
    method.eval()
    with torch.no_grad():
        method.open(stage, pool)
    method.train()


def stage_named(method: Method, name: str) -> Stage:
    """The stage of that name."""
    return next(stage for stage in method.course() if stage.name == name)


def nudge(net: nn.Module) -> None:
    """Makes it another network, as after some training."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def settled(method: Any, batch: Batch) -> Any:
    """The method after ten steps, so that it has all it needs for every term."""
    for _ in train(method, batch, 10):
        pass
    method.zero_grad()
    return method


def gradients(method: Method, loss: Tensor) -> dict[str, Tensor | None]:
    """The gradient that a loss gives to each parameter that trains; None where it does not reach."""
    named = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return dict(zip(named, found, strict=True))


def why_not_static(method: Method, batches: Sequence[Batch]) -> str | None:
    """Why a step of some phase is not static, in a line for the author of the method; None if every phase is.

    A step near the begin of each phase is compared with its last one, on the second and third of three batches. Of
    stages that are told apart by a number alone, the first is looked at.
    """
    optimizers = build_optimizers(method.parameter_groups(), TrainingConfig(), torch.device("cpu"))
    trainer, steps = Trainer(method, optimizers, TrainingConfig()), 100
    for stage in {re.sub(r"\d+", "", stage.name): stage for stage in reversed(method.course())}.values():
        bounds = [0, *(method.phases(stage.name, steps) if stage in method.stages() else []), steps]
        for phase, (first, end) in enumerate(pairwise(bounds)):
            if end - first < 3:
                continue
            with in_static_mode():
                trainer.step(method.now(first, steps, stage.name), batches[0])  # makes what is made once
                one, other = (
                    record(partial(trainer.step, method.now(step, steps, stage.name), batch), own_file(method))
                    for step, batch in ((first + 1, batches[1]), (end - 1, batches[2]))
                )
            if products := grouped_products(one):
                return f"{method.name}: {products[0].name} {products[0].place} waits on most GPUs"
            if reason := static.why_not_static(one, other):
                return f"{method.name}, stage {stage.name}, phase {phase}: the step {reason}"
    return None


def without_labels(batch: Batch) -> Batch:
    """The batch with masks in which all is ignored, and unlabeled images in which nothing is valid."""
    labeled = batch.labeled._replace(labels=torch.full_like(batch.labeled.labels, IGNORE))
    unlabeled = batch.unlabeled and batch.unlabeled._replace(valid=torch.zeros_like(batch.unlabeled.valid))
    return batch._replace(labeled=labeled, unlabeled=unlabeled)


def without_dropout(module: nn.Module) -> nn.Module:
    """The module, whose layers of dropout now keep everything."""
    for layer in module.modules():
        if isinstance(layer, nn.Dropout2d):
            layer.p = 0.0
    return module


@contextmanager
def in_static_mode() -> Iterator[None]:
    """Inside, grouped products are computed as on most GPUs, where PyTorch's own would wait."""
    with patch.object(groups, "_groups_cost_no_wait", lambda rows: False):
        yield


def spied(monkeypatch: Any, owner: Any, name: str) -> list[Any]:
    """The results of a function of this module or object from now on, in the order of its calls."""
    results, original = [], getattr(owner, name)

    def spy(*arguments: Any) -> Any:
        results.append(original(*arguments))
        return results[-1]

    monkeypatch.setattr(owner, name, spy)
    return results


class HostReads:
    """Notes in `found` what makes the host wait for the device: numbers handed to Python, and data-dependent shapes.

    A grouped matrix product counts as waiting: it does on most GPUs, where `grouped_linear` takes another one.
    """

    def __init__(self) -> None:
        self._record, self._mode = StepRecord(), in_static_mode()

    def __enter__(self) -> "HostReads":
        self._mode.__enter__()
        self._record.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._record.__exit__(*error)
        self._mode.__exit__(*error)

    @property
    def found(self) -> list[str]:
        """The operations, in their order."""
        return [each.name for each in (*self._record.asked, *grouped_products(self._record))]


def grouped_products(record: StepRecord) -> list[Operation]:
    """The grouped matrix products of a step, as PyTorch has them: most GPUs wait for them."""
    return [each for each in record.operations if "grouped_mm" in each.name]


def _scenes(generator: np.random.Generator, num_images: int) -> tuple[Tensor, Tensor]:
    """Images float [b 3 h w] and labels [b h w]: one box of each class but the first."""
    labels = np.zeros((num_images, HEIGHT, WIDTH), np.int64)
    for image in labels:
        for label in range(1, NUM_CLASSES):
            top, left = generator.integers(0, HEIGHT - 14), generator.integers(0, WIDTH - 18)
            image[top : top + 14, left : left + 18] = label
    images = np.clip(_COLORS[labels] + generator.uniform(-0.1, 0.1, (*labels.shape, 3)), 0, 1)
    return torch.from_numpy(images).float().permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)
