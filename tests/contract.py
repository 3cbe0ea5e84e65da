"""A method in five lines, on two small images: what the tests of every method start from."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fewmask.augment import Augmentation
from fewmask.data.batch import Batch, Labeled, Unlabeled
from fewmask.methods import ContrastConfig, Method, Now, Pretraining, Stage, Tools
from fewmask.models.build import NetConfig
from fewmask.ops import groups
from fewmask.recipe import TrainingConfig
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
            torch.manual_seed(step)
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


def spied(monkeypatch: Any, owner: Any, name: str) -> list[Any]:
    """The results of a function of this module or object from now on, in the order of its calls."""
    results, original = [], getattr(owner, name)

    def spy(*arguments: Any) -> Any:
        results.append(original(*arguments))
        return results[-1]

    monkeypatch.setattr(owner, name, spy)
    return results


class HostReads(TorchDispatchMode):
    """Notes in `found` what makes the host wait for the device: numbers handed to Python, and data-dependent shapes.

    It sees what C++ does on its own, such as reading an index that is a tensor without dimensions, but not inside of
    kernels. A grouped matrix product counts as waiting: it does on most GPUs, where `grouped_linear` takes another one.
    """

    _WAITING = (
        "grouped_mm",
        "local_scalar_dense",
        "nonzero",
        "masked_select",
        "unique",
        "bincount",
        "equal",
        "is_nonzero",
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []
        self._python_calls = _PythonCalls(self.found)
        self._device = patch.object(groups, "_groups_cost_no_wait", lambda rows: False)

    def __enter__(self) -> "HostReads":
        self._device.start()
        self._python_calls.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._python_calls.__exit__(*error)  # type: ignore[no-untyped-call]
        self._device.stop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::").lstrip("_")
        by_mask = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for argument in args
            if isinstance(argument, list | tuple)
            for index in argument
        )
        if by_mask or name.startswith(self._WAITING):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


class _PythonCalls(TorchFunctionMode):
    """The same, of what a tensor on the CPU answers without any operation."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("tolist", "numpy", "cpu", "__array__"):
            self._found.append(func.__name__)
        return func(*args, **(kwargs or {}))


def _scenes(generator: np.random.Generator, num_images: int) -> tuple[Tensor, Tensor]:
    """Images float [b 3 h w] and labels [b h w]: one box of each class but the first."""
    labels = np.zeros((num_images, HEIGHT, WIDTH), np.int64)
    for image in labels:
        for label in range(1, NUM_CLASSES):
            top, left = generator.integers(0, HEIGHT - 14), generator.integers(0, WIDTH - 18)
            image[top : top + 14, left : left + 18] = label
    images = np.clip(_COLORS[labels] + generator.uniform(-0.1, 0.1, (*labels.shape, 3)), 0, 1)
    return torch.from_numpy(images).float().permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)
