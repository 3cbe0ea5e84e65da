"""A batch is a function of its step: any step can be asked for alone, on any rank."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fewmask.data.balance import Balance, corner_around
from fewmask.data.batch import Batch, Labeled, Unlabeled
from fewmask.data.classes import Classes
from fewmask.data.folder import Sample, read_folder
from fewmask.data.loader import Draws, StepBatches, step_loader
from fewmask.data.store import FileStore, MemoryStore
from fewmask.shapes import IGNORE

Stores = tuple[MemoryStore, MemoryStore]
CPU = torch.device("cpu")
CLASSES = Classes(names=("ground", "box"))
DRAWS = Draws(seed=3, stage=0, crop=(16, 24), num_labeled=2, num_unlabeled=3)


@pytest.fixture(scope="module")
def stores(dataset: Path) -> Stores:
    folder = read_folder(dataset)
    labeled, unlabeled = (MemoryStore(FileStore(each, folder.classes)) for each in (folder.train, folder.unlabeled))
    return labeled, unlabeled


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> MemoryStore:
    """Seven images of one level each, 10 for the first to 70 for the last, each a class of its own."""
    folder = tmp_path_factory.mktemp("marked")
    samples = []
    for index in range(7):
        mask = folder / f"{index}_mask.png"
        sample = Sample(str(index), folder / f"{index}.png", mask)
        Image.fromarray(np.full((8, 8, 3), 10 * (index + 1), np.uint8)).save(sample.image)
        Image.fromarray(np.full((8, 8), index, np.uint8)).save(mask)
        samples.append(sample)
    return MemoryStore(FileStore(samples, Classes(names=tuple("abcdefg"))))


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> MemoryStore:
    """One image whose red and green are the column and row of a pixel, as is its mask, the column."""
    folder = tmp_path_factory.mktemp("ramp")
    rows, columns = np.mgrid[:20, :30].astype(np.uint8)
    Image.fromarray(np.stack([columns, rows, rows], axis=-1)).save(folder / "image.png")
    Image.fromarray(columns).save(folder / "mask.png")
    sample = Sample("image", folder / "image.png", folder / "mask.png")
    return MemoryStore(FileStore([sample], Classes(names=tuple(map(str, range(30))))))


def unlabeled_of(batch: Batch) -> Unlabeled:
    """The unlabeled images of a batch that has some."""
    assert batch.unlabeled is not None
    return batch.unlabeled


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(*pair) for part in range(2) for pair in zip(one[part], other[part], strict=True))


def seen(store: MemoryStore, draws: Draws, steps: Iterable[int]) -> list[int]:
    """Which images the labeled batches of these steps hold, in order."""
    batches = StepBatches(store, None, draws)
    return [int(level) // 10 - 1 for step in steps for level in batches[step].labeled.images[:, 0, 0, 0]]


def test_two_loaders_agree_and_order_of_access_does_not_matter(stores: Stores) -> None:
    forward = [StepBatches(stores[0], stores[1], DRAWS)[step] for step in range(6)]
    backward = [StepBatches(stores[0], stores[1], DRAWS)[step] for step in reversed(range(6))][::-1]
    assert all(map(same, forward, backward))
    assert not same(forward[0], forward[1])


def test_a_loader_started_late_goes_on_as_the_unbroken_one(stores: Stores) -> None:
    batches = StepBatches(stores[0], stores[1], DRAWS)
    unbroken = list(step_loader(batches, 0, 5, workers=0, pinned=False))
    assert all(map(same, unbroken[3:], step_loader(batches, 3, 5, workers=0, pinned=False)))
    assert len(unbroken) == 5


def test_workers_give_what_this_process_gives(stores: Stores) -> None:
    batches = StepBatches(stores[0], stores[1], DRAWS)
    assert all(map(same, step_loader(batches, 0, 4, 2, pinned=False), [batches[step] for step in range(4)]))


@pytest.mark.parametrize("change", [{"seed": 4}, {"stage": 1}])
def test_another_seed_or_stage_is_another_order(marked: MemoryStore, change: dict[str, Any]) -> None:
    steps = range(14)
    assert seen(marked, DRAWS, steps) != seen(marked, DRAWS._replace(**change), steps)


def test_every_image_is_seen_once_before_any_is_seen_again(marked: MemoryStore) -> None:
    order = seen(marked, DRAWS._replace(num_labeled=3, crop=(4, 4)), range(14))  # 42 = six epochs, across batches
    epochs = [order[start : start + 7] for start in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_ranks_share_the_work_of_one(marked: MemoryStore) -> None:
    alone = DRAWS._replace(num_labeled=4, crop=(4, 4))
    ranks = [alone._replace(num_labeled=2, rank=rank, num_ranks=2) for rank in range(2)]
    for step in range(8):
        assert seen(marked, alone, [step]) == [index for draws in ranks for index in seen(marked, draws, [step])]


def test_a_batch_may_be_larger_than_the_store(ramp: MemoryStore) -> None:
    labeled = StepBatches(ramp, None, DRAWS._replace(num_labeled=5))[0].labeled
    assert len(labeled.images) == 5
    assert not torch.equal(labeled.images[0], labeled.images[1])  # crops differ


@pytest.mark.parametrize("size", [4, 5])
def test_labeled_batches_are_drawn_evenly_from_target_and_source(
    marked: MemoryStore, ramp: MemoryStore, size: int
) -> None:
    """The source, one image whose blue is its row, is told from the target, whose images are of one level each."""
    batches = StepBatches(marked, None, DRAWS._replace(num_labeled=size, crop=(4, 4)), source=ramp)
    held = [batches[step] for step in range(14)]
    assert {len(batch.labeled.images) for batch in held} == {size}
    assert [batch.num_source for batch in held[:4]] == ([2, 2, 2, 2] if size == 4 else [2, 3, 2, 3])
    for batch in held:
        assert all(image.unique().numel() == 1 for image in batch.target.images)
        assert all(image.unique().numel() > 1 for image in batch.source.images)
        assert torch.equal(torch.cat([batch.target.labels, batch.source.labels]), batch.labeled.labels)
    levels = [int(image[0, 0, 0]) for batch in held for image in batch.target.images]
    assert sorted(levels[:7]) == sorted(levels[7:14]) == [10, 20, 30, 40, 50, 60, 70]  # each once before any again


def test_ranks_share_the_source_as_one(marked: MemoryStore, ramp: MemoryStore) -> None:
    alone = DRAWS._replace(num_labeled=6, crop=(4, 4))
    ranks = [alone._replace(num_labeled=3, rank=rank, num_ranks=2) for rank in range(2)]

    def levels(draws: Draws, step: int) -> Any:
        return StepBatches(ramp, None, draws, source=marked)[step].source.images[:, 0, 0, 0].tolist()

    for first in (0, 2):  # an odd share comes out even every two steps
        steps = (first, first + 1)
        together = [level for step in steps for level in levels(alone, step)]
        assert together == [level for step in steps for draws in ranks for level in levels(draws, step)]


def test_image_and_labels_are_cropped_at_the_same_place_and_everywhere(ramp: MemoryStore) -> None:
    corners = set()
    for step in range(300):
        images, labels = StepBatches(ramp, None, DRAWS._replace(num_labeled=1, crop=(18, 27)))[step].labeled
        assert torch.equal(images[0, 0], labels[0])
        assert images.shape == (1, 3, 18, 27)
        corners.add((int(images[0, 1, 0, 0]), int(images[0, 0, 0, 0])))
    assert corners == {(top, left) for top in range(3) for left in range(4)}


def test_a_crop_larger_than_the_image_pads_right_and_below(ramp: MemoryStore) -> None:
    batch = StepBatches(ramp, ramp, DRAWS._replace(num_labeled=1, num_unlabeled=1, crop=(24, 25)))[0]
    images, labels = batch.labeled
    for color, channel in zip((124, 116, 104), images[0], strict=True):  # SegNet's own padding, before normalization
        assert (channel[20:] == color).all()
    assert (labels[0, 20:] == IGNORE).all()
    assert torch.equal(images[0, 0, :20], labels[0, :20])
    assert labels[0, :20].max() < 30
    assert unlabeled_of(batch).valid[0, :20].all()
    assert not unlabeled_of(batch).valid[0, 20:].any()


def test_unlabeled_images_have_no_labels_even_where_there_are_masks(ramp: MemoryStore) -> None:
    assert Unlabeled._fields == ("images", "valid")
    assert unlabeled_of(StepBatches(ramp, ramp, DRAWS)[0])._fields == ("images", "valid")
    assert StepBatches(ramp, None, DRAWS)[0].unlabeled is None


def test_the_two_streams_are_drawn_apart(marked: MemoryStore) -> None:
    draws = DRAWS._replace(num_labeled=7, num_unlabeled=7, crop=(4, 4))
    batch = StepBatches(marked, marked, draws)[0]
    assert not torch.equal(batch.labeled.images, unlabeled_of(batch).images)


def test_on_the_device_images_are_in_the_unit_range_and_labels_are_int64(stores: Stores) -> None:
    batch = StepBatches(stores[0], stores[1], DRAWS)[0]
    moved = batch.to(CPU)
    for images, bytes_ in (
        (moved.labeled.images, batch.labeled.images),
        (unlabeled_of(moved).images, unlabeled_of(batch).images),
    ):
        assert images.dtype == torch.float32
        torch.testing.assert_close(images, bytes_ / 255)
    assert moved.labeled.labels.dtype == torch.int64
    assert torch.equal(unlabeled_of(moved).valid, unlabeled_of(batch).valid)
    assert StepBatches(stores[0], None, DRAWS)[0].to(CPU).unlabeled is None


def test_a_batch_that_is_on_the_device_stays_as_it_is() -> None:
    labeled = Labeled(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 2, 2, dtype=torch.int64))
    batch = Batch(labeled, None)
    assert (batch.to(CPU).to(CPU).labeled.images == 0.5).all()
    assert (batch.labeled.images == 0.5).all()


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> MemoryStore:
    """Eight images of class 0; two pixels of the last one are of class 1, and no image holds class 2."""
    folder = tmp_path_factory.mktemp("rare")
    samples = []
    for index in range(8):
        labels = np.zeros((40, 60), np.uint8)
        labels[[3, 36], [5, 57]] = index == 7
        sample = Sample(str(index), folder / f"{index}.png", folder / f"{index}_mask.png")
        Image.fromarray(np.full((40, 60, 3), index, np.uint8)).save(sample.image)
        Image.fromarray(labels).save(folder / f"{index}_mask.png")
        samples.append(sample)
    return MemoryStore(FileStore(samples, Classes(names=("road", "sign", "nowhere"))))


HOLDS = torch.tensor([[True, index == 7, False] for index in range(8)])


def shares_of_rare(store: MemoryStore, balance: Balance | None) -> tuple[float, float]:
    """The share of 400 crops that are of the image with the rare class, and that hold a pixel of it."""
    batches = StepBatches(store, None, DRAWS._replace(crop=(16, 24)), balance=balance)
    held = [batches[step].labeled for step in range(200)]
    is_last = torch.cat([images[:, 0, 0, 0] == 7 for images, _ in held])
    has_rare = torch.cat([(labels == 1).flatten(1).any(dim=1) for _, labels in held])
    return is_last.double().mean().item(), has_rare.double().mean().item()


@pytest.mark.slow
def test_balanced_crops_are_drawn_for_every_class_that_has_labels_alike(rare: MemoryStore) -> None:
    """By class: the rare one in half of the crops, and its image also in an eighth of the others."""
    assert shares_of_rare(rare, None)[0] == 1 / 8
    image, pixel = shares_of_rare(rare, Balance(1.0, HOLDS))
    assert image == pytest.approx(9 / 16, abs=0.1)
    assert 0.5 - 0.1 < pixel <= image  # every crop for the class holds a pixel of it
    image, pixel = shares_of_rare(rare, Balance(0.5, HOLDS))
    assert image == pytest.approx(11 / 32, abs=0.1)
    assert shares_of_rare(rare, Balance(1.0, torch.zeros_like(HOLDS)))[0] == 1 / 8  # nothing has a label


def test_balanced_batches_follow_from_their_step_and_ranks_share_them(rare: MemoryStore) -> None:
    alone = DRAWS._replace(num_labeled=4)
    batches = StepBatches(rare, None, alone, balance=Balance(0.5, HOLDS))
    first, again = ([batches[step].labeled.images for step in order] for order in ((5, 3), (5, 3)))
    assert torch.equal(torch.cat(first), torch.cat(again))
    halves = [
        StepBatches(rare, None, alone._replace(num_labeled=2, rank=rank, num_ranks=2), balance=Balance(0.5, HOLDS))
        for rank in range(2)
    ]
    together = torch.cat([half[3].labeled.labels for half in halves])
    assert torch.equal(batches[3].labeled.labels, together)
    unlabeled = [StepBatches(rare, rare, alone, balance=balance)[3] for balance in (None, Balance(1.0, HOLDS))]
    assert torch.equal(unlabeled_of(unlabeled[0]).images, unlabeled_of(unlabeled[1]).images)  # which stay as they are


def test_crops_for_a_class_lie_anywhere_around_its_pixel(rare: MemoryStore) -> None:
    labels = rare.picture(7).labels
    assert labels is not None
    corners = {corner_around(1, labels, (16, 24), seed) for seed in range(3000)}
    expected = {(top, left) for top in range(4) for left in range(6)}
    expected |= {(top, left) for top in range(21, 25) for left in range(34, 37)}
    assert corners == expected
    assert corner_around(1, labels, (50, 70), 0) == (0, 0)  # larger than the image
    assert corner_around(2, labels, (16, 24), 0) is None
