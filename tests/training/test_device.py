"""Which device a run takes, in what precision."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from fewmask.errors import UserError
from fewmask.models.bank import ClassBank
from fewmask.models.heads import GroupedBatchNorm
from fewmask.recipe import TrainingConfig
from fewmask.study.origin import machine
from fewmask.training import device as device_module
from fewmask.training.device import fit_to_device, launch_fabric, loss_scaler, num_processes
from fewmask.use.device import choose_device, enough_memory
from toy import TRAINING


def test_auto_takes_the_best_device_there_is() -> None:
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto", "training.device") == wanted
    assert choose_device("cpu", "training.device") == "cpu"


def test_full_memory_is_one_line() -> None:
    full = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which"
    line = r"full \(CUDA out of memory. Tried to allocate 2.00 GiB\)\. Lower it\."
    with pytest.raises(UserError, match=line), enough_memory("Lower it."):
        raise torch.OutOfMemoryError(full)


def test_full_memory_of_the_machine_is_one_line_and_another_error_stays_itself() -> None:
    line = r"full \(.* [0-9]+ bytes\)\. Lower it\.$"
    with pytest.raises(UserError, match=line), enough_memory("Lower it."):
        torch.empty(10**15)
    with pytest.raises(RuntimeError, match=r"^another$"), enough_memory("Lower it."):
        raise RuntimeError("another")


def test_device_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^--device: there is no device 'gpu'. Choose auto, cpu, cuda or mps"):
        choose_device("gpu", "--device")
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(UserError, match=f"^training.device: {missing} is not available here. Choose auto"):
        choose_device(missing, "training.device")


@pytest.mark.parametrize(("precision", "dtype"), [("32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_the_recipe(precision: str, dtype: torch.dtype) -> None:
    fabric = launch_fabric(TrainingConfig(**TRAINING | {"precision": precision}))
    with fabric.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == dtype


@pytest.mark.parametrize(("has_amx", "precision"), [(True, "bf16"), (False, "32")])
def test_a_processor_trains_in_bfloat16_only_with_amx(
    monkeypatch: pytest.MonkeyPatch, has_amx: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    assert device_module.precision_on("auto", "cpu") == precision
    assert machine().endswith({"bf16": "bfloat16", "32": "float32"}[precision]) or torch.cuda.is_available()


def test_a_gpu_without_bfloat16_trains_in_float16_with_a_scaled_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert device_module.precision_on("auto", "cuda") == "16"
    assert device_module.precision_on("auto", "mps") == "32"
    fabric = launch_fabric(TrainingConfig(**TRAINING | {"precision": "16"}))
    with fabric.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16
    assert loss_scaler(fabric) is not None
    assert loss_scaler(launch_fabric(TrainingConfig(**TRAINING))) is None


def test_several_devices_train_together_and_may_leave_parameters_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fabric, "launch", lambda fabric: None)
    for devices in (None, 1, 2):
        fabric = launch_fabric(TrainingConfig(**TRAINING | {"devices": devices}))
        assert fabric.world_size == (devices or 1)
        options = getattr(fabric.strategy, "_ddp_kwargs", None)
        assert options == ({"find_unused_parameters": True} if devices == 2 else None)


SRUN = {"SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
SRUN |= {"SLURM_NTASKS_PER_NODE": "2", "SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_NNODES": "1"}


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        (SRUN, 2),
        ({name: SRUN[name] for name in ("SLURM_NTASKS", "SLURM_JOB_NAME")}, 1),  # sbatch without srun
        (SRUN | {"SLURM_JOB_NAME": "interactive"}, 1),
    ],
)
def test_tasks_of_srun_are_ranks(environment: dict[str, str], ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fabric, "launch", lambda fabric: None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fabric = launch_fabric(TrainingConfig(**TRAINING))
    assert (fabric.world_size, fabric.global_rank) == (ranks, ranks - 1)
    assert num_processes(TrainingConfig(**TRAINING)) == ranks


def test_tasks_of_srun_without_their_number_on_a_node_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SRUN.keys() - {"SLURM_NTASKS_PER_NODE"}:
        monkeypatch.setenv(name, SRUN[name])
    with pytest.raises(UserError, match=r"srun started 2 tasks. Start them with srun --ntasks-per-node=N"):
        launch_fabric(TrainingConfig(**TRAINING))


def test_processes_that_are_not_those_asked_for_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"2 processes started, and the run has 3. Start it with torchrun"):
        launch_fabric(TrainingConfig(**TRAINING | {"devices": 3}))


@pytest.fixture
def one_rank() -> Iterator[None]:
    """A process group of this process alone."""
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_ranks_are_sent_what_neither_the_method_nor_the_trainer_keeps_equal() -> None:
    norms = {"norm": nn.BatchNorm1d(4), "grouped": GroupedBatchNorm(2, 4)}
    method: Any = nn.ModuleDict({"net": nn.Linear(4, 4), "bank": ClassBank(2, 3, 4)} | norms)
    method.replicated_buffers = lambda: [f"bank.{name}" for name, _ in method.bank.named_buffers()]
    fit_to_device(method, Fabric(accelerator="cpu", devices=1))
    sent = {name for name, _ in DistributedDataParallel(method).named_module_buffers.items()}
    assert sent == {"norm.num_batches_tracked"}
