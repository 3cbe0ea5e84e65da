"""Looks at features go to a run and back; a damaged file is one line."""

import math
from pathlib import Path

import pytest
import torch

from fewmask.data.store import Picture
from fewmask.errors import UserError
from fewmask.run.features import (
    Distances,
    FeatureLook,
    KeptLook,
    LookedAt,
    Moment,
    check_looks,
    read_features_table,
    read_looked_at,
    read_looks,
    write_features_table,
    write_look,
    write_looked_at,
)
from fewmask.run.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def look(value: int, distances: Distances) -> FeatureLook:
    return FeatureLook([torch.full((2, 3, 3), value + place, dtype=torch.uint8) for place in range(2)], distances)


def test_a_run_that_takes_no_looks_has_none(run: RunFolder) -> None:
    assert read_looks(run) == []
    assert read_looked_at(run) is None


def test_looks_come_back_in_the_order_of_their_stages(run: RunFolder) -> None:
    moments = [Moment(0, "start", 0), Moment(2, "round_b", 40), Moment(10, "train", 90)]
    for moment in reversed(moments):
        write_look(run, look(moment.num_stages, Distances(0.25, 1 / 3)), moment)
    write_looked_at(run, LookedAt("val", []))  # lies beside them
    kept = read_looks(run)
    assert [found.moment for found in kept] == moments
    for found in kept:
        assert found.look.distances == Distances(0.25, 1 / 3)
        assert [int(colors[0, 0, 0]) for colors in found.look.colors] == [
            found.moment.num_stages,
            found.moment.num_stages + 1,
        ]


def test_the_pictures_of_the_looks_come_back_with_their_split(run: RunFolder) -> None:
    pictures = [
        Picture(torch.full((3, 4, 5), place, dtype=torch.uint8), torch.full((4, 5), place, dtype=torch.uint8))
        for place in range(12)
    ]
    write_looked_at(run, LookedAt("test", pictures))
    seen = read_looked_at(run)
    assert seen is not None
    assert seen.split == "test"
    for before, after in zip(pictures, seen.pictures, strict=True):
        assert before.labels is not None
        assert after.labels is not None
        assert torch.equal(before.image, after.image)
        assert torch.equal(before.labels, after.labels)


def test_the_table_holds_the_distances_of_all_looks(run: RunFolder) -> None:
    nan = float("nan")
    looks = [
        KeptLook(Moment(0, "start", 0), look(0, Distances(nan, nan))),
        KeptLook(Moment(1, "train", 8), look(0, Distances(0.125, 0.5))),
    ]
    write_features_table(run, looks)
    assert run.features_table.read_text().splitlines() == [
        "stage,step,intra_class_distance,inter_class_distance,inter_over_intra",
        "start,0,nan,nan,nan",
        "train,8,0.125000,0.500000,4.000000",
    ]
    first, second = read_features_table(run)
    assert first[:2] == ("start", 0)
    assert math.isnan(first.distances.ratio)
    assert second == ("train", 8, Distances(0.125, 0.5))


def test_damaged_files_are_one_line(run: RunFolder) -> None:
    write_look(run, look(0, Distances(0.1, 0.2)), Moment(0, "start", 0))
    write_looked_at(run, LookedAt("test", [Picture(torch.zeros(3, 4, 5, dtype=torch.uint8), torch.zeros(4, 5).byte())]))
    for file, read in (
        ("pictures.safetensors", read_looked_at),
        ("0_start.safetensors", read_looks),
    ):
        path = run.features / file
        whole = path.read_bytes()
        for content in (b"", whole[: len(whole) // 2]):
            path.write_bytes(content)
            with pytest.raises(UserError, match=rf"{file}: the file cannot be read \(.*\)\. Copy it again") as caught:
                read(run)
            assert "\n" not in str(caught.value)
    pictures = run.features / "pictures.safetensors"
    pictures.write_bytes(whole)
    with pytest.raises(UserError, match=r"pictures\.safetensors: the file cannot be read \(it holds no"):
        read_looked_at(run)
    (run.features / "0_start.safetensors").unlink()
    pictures.rename(run.features / "1_train.safetensors")
    run.features_table.write_text("stage,step\ntrain,1\n")
    with pytest.raises(UserError, match=r"features\.csv: it has no column intra_class_distance"):
        read_features_table(run)


def test_looks_that_do_not_belong_together_or_hold_no_pictures_are_damaged(run: RunFolder) -> None:
    def of(image: torch.Tensor, labels: torch.Tensor, count: int = 2) -> LookedAt:
        return LookedAt("test", [Picture(image.clone(), labels.clone()) for _ in range(count)])

    image, labels = torch.zeros(3, 4, 5).byte(), torch.zeros(4, 5).byte()
    seen = of(image, labels)
    first = look(0, Distances(0.1, 0.2))
    check_looks(run)
    for number, (pictures, kept) in enumerate(
        [
            (of(image, labels, 1), first),
            (of(image.permute(1, 2, 0).contiguous(), labels), first),
            (of(image, torch.zeros(4, 6).byte()), first),
            (of(image.float(), labels), first),
            (seen, first._replace(colors=[torch.zeros(2, 3, 4).byte() for _ in range(2)])),
            (seen, first._replace(colors=[torch.zeros(0, 3, 3).byte() for _ in range(2)])),
        ]
    ):
        one = RunFolder(run.path / str(number))
        one.path.mkdir()
        write_looked_at(one, pictures)
        write_look(one, kept, Moment(0, "start", 0))
        with pytest.raises(UserError, match="the file cannot be read"):
            check_looks(one)
    write_looked_at(run, seen)
    write_look(run, first, Moment(0, "start", 0))
    check_looks(run)
    (run.features / "1x_mine.safetensors").touch()
    check_looks(run)
