"""What every test runs under: shapes are checked, one thread, warnings are errors; and the small things tests share."""

import gc
import multiprocessing
import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest

CHECKED = ("ops", "models", "data", "augment", "methods")
SOURCES = [str(Path(__file__).parents[1] / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(SOURCES)  # processes that tests start import this checkout, too

# Processes that tests fork off a server start warm: it imports torch and the commands once.
multiprocessing.set_forkserver_preload(
    ["pytest", "fewmask.cli.app", "fewmask.report", "fewmask.study.train", "fewmask.use.predict"]
)

hypothesis.settings.register_profile("fewmask", max_examples=40, deadline=None, derandomize=True)
hypothesis.settings.load_profile("fewmask")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/methods --write-golden` records the losses that later runs are held to."""
    parser.addoption("--write-golden", action="store_true", help="record the first losses of every method anew")


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors; exceptions to it, in pyproject.toml, come later in the list and so win.

    The process that only hands tests to workers imports nothing heavy: they start sooner.
    """
    config.getini("filterwarnings").insert(0, "error")
    is_worker = hasattr(config, "workerinput")
    if is_worker or not config.getoption("numprocesses", None):
        _check_shapes(is_worker)


def pytest_collection_finish() -> None:
    """What has been imported and collected stays. Where the collector of garbage passes it by, tests are faster."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Lets go of it, for libraries that tell what is left at the end."""
    gc.unfreeze()


def _check_shapes(is_worker: bool) -> None:
    if is_worker:  # it will need them, and under the hook Python would compile them anew
        import kornia.augmentation  # noqa: F401
        import lightning_fabric  # noqa: F401
        import segmentation_models_pytorch  # noqa: F401
    import jaxtyping
    import torch

    jaxtyping.install_import_hook([f"fewmask.{room}" for room in CHECKED], "lazy_checks.checked")
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draws that a test does not seed itself repeat all the same. (`torch.manual_seed` takes a millisecond.)"""
    import torch

    torch.default_generator.manual_seed(4)


@pytest.fixture(scope="session")
def tiny_net() -> Any:
    """A network that takes a step of both views in a twentieth of a second; its features are as fine as the image."""
    from fewmask.models.build import NetConfig  # here and not above: the operators' tests need no networks

    options = {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}
    return NetConfig(arch="unet", encoder="test_resnet", weights="none", options=options)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of colored boxes, 4 classes, 48 x 64: 4 labeled, 6 unlabeled, 3 val and 3 test images."""
    from toy import make_dataset

    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report of a tiny run beside its baseline, with names that are HTML (named_report.py)."""
    from named_report import report_of_names

    return report_of_names(tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Any:
    """Two methods with two masks, beside the baseline and all masks: a comparison of four runs of two steps."""
    from comparing import Finished, compared, planned

    folder = tmp_path_factory.mktemp("finished")
    study = planned(folder, dataset, ["cutmix", "cps"])
    return Finished(study, folder / "study", compared(study, folder / "study"))
