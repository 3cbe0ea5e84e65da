"""The one comparison that several tests look at."""

from pathlib import Path

import pytest
from here import Finished, compared, planned


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Finished:
    """Two methods with two masks, beside the baseline and all masks: four runs of two steps."""
    folder = tmp_path_factory.mktemp("finished")
    study = planned(folder, dataset, ["cutmix", "cps"])
    return Finished(study, folder / "study", compared(study, folder / "study"))
