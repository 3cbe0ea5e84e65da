"""Launches a Fabric by the recipe: which device, how many devices, and which precision."""

import logging
import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.plugins.precision import MixedPrecision
from torch import distributed
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel

from fewmask.errors import UserError
from fewmask.methods import Method
from fewmask.models.ranks import norm_statistics
from fewmask.ops.exact import exact_dtype
from fewmask.recipe import TrainingConfig
from fewmask.use.device import choose_device
from fewmask.use.ranks import is_task_of_srun


def launch_fabric(training: TrainingConfig) -> Fabric:
    """One process on one device, or one of several ranks (DDP) that torchrun, srun or `training.devices` asks for.

    Raises:
        UserError: the device is not there or cannot train, or the number of started processes is not
            `training.devices`.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it reports the precision, and more, on stderr
    device = choose_device(training.device, "training.device")
    ranks, local = _processes(training)
    if training.devices not in (None, ranks):
        what = f"{ranks} process{'es' if ranks > 1 else ''} started, and the run has {training.devices}"
        fix = f"Start it with torchrun --nproc-per-node={training.devices}, or without torchrun or srun."
        raise UserError(what, "training.devices", fix)
    if device == "cuda" and local > torch.cuda.device_count():
        what = f"the run has {local} processes on this machine, which has {torch.cuda.device_count()} GPUs"
        raise UserError(what, "training.devices", "Start it with torchrun where it has as many.")
    fabric = Fabric(
        accelerator=device,
        strategy="ddp_find_unused_parameters_true" if ranks > 1 else "auto",  # heads are unused while their terms wait
        devices=local,
        num_nodes=max(1, ranks // local),
        **_environment_and_precision(training, device, alone=_is_alone_in_slurm()),
    )
    fabric.launch()
    return fabric


def lone_fabric(training: TrainingConfig) -> Fabric:
    """This process on its device and in the recipe's precision, even if it is a rank of several."""
    device = choose_device(training.device, "training.device")
    return Fabric(accelerator=device, devices=1, **_environment_and_precision(training, device, alone=True))


def _environment_and_precision(training: TrainingConfig, device: str, alone: bool) -> dict[str, Any]:
    """Arguments of a Fabric; `alone` says that no launcher is to be asked for other processes."""
    plugins: list[Any] = [LightningEnvironment()] if alone else []
    precision = precision_on(training.precision, device)
    if precision == "16":
        half = MixedPrecision("16-mixed", device)
        half.scaler = None  # the trainer scales the loss itself, because it has several optimizers and clips gradients
        plugins.append(half)
    return {
        "plugins": plugins or None,
        "precision": {"32": "32-true", "bf16": "bf16-mixed", "16": None}[precision],
    }


def is_first_process() -> bool:
    """Whether this process is the first of its run; false only for other ranks of a launched Fabric."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Returns when all processes of a run have come here."""
    if distributed.is_initialized():
        distributed.barrier()


def num_processes(training: TrainingConfig) -> int:
    """The processes of a run: those that torchrun or srun started, or else one for each of `training.devices`."""
    return _processes(training)[0]


def num_local_processes(training: TrainingConfig) -> int:
    """The processes of a run on this machine, which share its memory."""
    return _processes(training)[1]


def _processes(training: TrainingConfig) -> tuple[int, int]:
    """The number of processes in all, and on this machine."""
    if "WORLD_SIZE" in os.environ:
        ranks = int(os.environ["WORLD_SIZE"])
        return ranks, int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    if not is_task_of_srun():
        return (training.devices or 1,) * 2
    ranks = int(os.environ.get("SLURM_NTASKS", 1))
    local = os.environ.get("SLURM_NTASKS_PER_NODE", "1" if ranks == 1 else "")
    if not local:  # without it Lightning does not know how many tasks a node has
        raise UserError(f"srun started {ranks} tasks", "SLURM", "Start them with srun --ntasks-per-node=N.")
    return ranks, int(local)


def _is_alone_in_slurm() -> bool:
    """Whether this is a SLURM job without srun and torchrun, where Lightning would wait for other tasks of the job."""
    return "SLURM_NTASKS" in os.environ and not is_task_of_srun() and "TORCHELASTIC_RUN_ID" not in os.environ


def loss_scaler(fabric: Fabric) -> GradScaler | None:
    """The scaler for a run in float16, whose small gradients would become 0 without it; None in other precisions."""
    precision = fabric.strategy.precision
    is_half = isinstance(precision, MixedPrecision) and precision.precision == "16-mixed"
    return GradScaler(fabric.device.type) if is_half else None


def fit_to_device(method: Method, fabric: Fabric) -> None:
    """Moves the method to the device. Buffers in float64 become float32 if the device has no float64.

    DDP would send all buffers in every step. The method and the trainer keep some equal by themselves: DDP leaves them.
    """
    for module in method.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.dtype == torch.float64:
                module.register_buffer(name, buffer.to(exact_dtype(fabric.device)))
    method.to(fabric.device)
    equal = [*method.replicated_buffers(), *norm_statistics(method)]  # the latter are averaged after every step
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(method, equal)


def precision_on(wanted: str, device: str) -> str:
    """The precision that `training.precision` is on a device (cpu, cuda or mps): 32, bf16 or 16.

    On processors that have bfloat16 but no tiles for its products (AMX), float32 is faster (docs/results/speed.md).
    """
    if wanted != "auto":
        return wanted
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "16"
    return "bf16" if device == "cpu" and torch.cpu._is_amx_tile_supported() else "32"
