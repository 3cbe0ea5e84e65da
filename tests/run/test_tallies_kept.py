"""tallies/SPLIT.safetensors goes to a run and back, and stands as long as the files that it was counted from."""

import time
from pathlib import Path

import numpy as np
import pytest

from fewmask.data.folder import Sample
from fewmask.run.folder import RunFolder
from fewmask.run.tallies import BINS, Tally, standing_tallies, write_tallies
from toy import write_recipe


def tally(seed: int) -> Tally:
    draw = np.random.default_rng(seed)
    images, confusion, sureness = (draw.integers(0, 99, shape) for shape in ((2, 3, 4), (4, 4), (2, 4, BINS)))
    return Tally(images, confusion, sureness, 0.25, "cpu")


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    write_recipe(tmp_path / "recipe.yaml", tmp_path)
    found = [Sample(name, tmp_path / f"{name}.jpg", tmp_path / f"{name}.png") for name in "ab"]
    for sample in found:
        sample.image.touch()
        assert sample.mask is not None
        sample.mask.touch()
    return found


def test_counts_are_read_as_they_were_written(tmp_path: Path, samples: list[Sample]) -> None:
    run, tallies = RunFolder(tmp_path), {"student": tally(0), "teacher": tally(1)}
    assert standing_tallies(run, "val", samples) is None
    write_tallies(run, "val", samples, tallies)
    kept = standing_tallies(run, "val", samples)
    assert kept is not None
    assert list(kept) == list(tallies)
    for name, written in tallies.items():
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(kept[name][:3], written[:3], strict=True))
        assert kept[name][3:] == written[3:]
    assert standing_tallies(run, "test", samples) is None


def test_counts_stand_until_other_images_are_there_or_a_file_is_corrected(
    tmp_path: Path, samples: list[Sample]
) -> None:
    run = RunFolder(tmp_path)
    for file in (samples[0].image, samples[1].mask):
        assert file is not None
        time.sleep(0.02)  # files have coarse times
        write_tallies(run, "val", samples, {"student": tally(0)})
        assert standing_tallies(run, "val", samples) is not None
        assert standing_tallies(run, "val", samples[:1]) is None
        assert standing_tallies(run, "val", samples[::-1]) is None
        time.sleep(0.02)
        file.touch()
        assert standing_tallies(run, "val", samples) is None


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_counts_that_are_cut_short_do_not_stand(kept: int, tmp_path: Path, samples: list[Sample]) -> None:
    run = RunFolder(tmp_path)
    write_tallies(run, "val", samples, {"student": tally(0)})
    file = run.tally_file("val")
    file.write_bytes(file.read_bytes()[:kept])
    assert standing_tallies(run, "val", samples) is None
