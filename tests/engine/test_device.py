"""Which device a run takes, in what precision."""

import pytest
import torch

from fewmask.engine.device import choose_device, launch_fabric
from fewmask.errors import UserError
from fewmask.recipe import TrainingConfig
from toy import TRAINING


def test_auto_takes_the_best_device_there_is() -> None:
    wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto", "training.device") == wanted
    assert choose_device("cpu", "training.device") == "cpu"


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
