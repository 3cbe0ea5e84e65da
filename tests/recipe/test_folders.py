"""Lists that make a smaller data set of a folder, and a source domain beside the target."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from fewmask.data.folder import read_folder
from fewmask.data.partition import draw_partition
from fewmask.errors import UserError
from fewmask.recipe import DataConfig, SourceConfig, make_method_config, read_recipe
from fewmask.recipe.folders import source_folder, target_folder
from fewmask.training.prepare import prepare_data
from miniatures import make_cityscapes, make_gta5
from toy import assert_mistake, command, make_dataset, write_recipe

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second data set of the same classes, with one mask missing."""
    root = make_dataset(tmp_path_factory.mktemp("source"), labeled=5)
    (root / "train" / "masks" / "train4.png").unlink()
    return root


def _list(path: Path, *names: str) -> Path:
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def test_lists_leave_of_every_split_what_they_name(tmp_path: Path, dataset: Path) -> None:
    data = DataConfig(
        root=dataset,
        train_list=_list(tmp_path / "train.txt", "train3", "train1.png"),
        test_list=_list(tmp_path / "test.txt", "images/test0.png masks/test0.png"),
    )
    folder = target_folder(data)
    assert [sample.name for sample in folder.train] == ["train1", "train3"]
    assert [sample.name for sample in folder.test] == ["test0"]
    assert (len(folder.val), len(folder.unlabeled)) == (3, 6)


def test_a_name_in_a_list_that_is_in_no_split_is_refused(tmp_path: Path, dataset: Path) -> None:
    with pytest.raises(UserError, match=r"'val9', is no val image.*nearest: val"):
        target_folder(DataConfig(root=dataset, val_list=_list(tmp_path / "val.txt", "val9")))
    with pytest.raises(UserError, match="No such file"):
        target_folder(DataConfig(root=dataset, val_list=tmp_path / "absent.txt"))


def test_lists_may_name_the_pairs_of_two_sizes_that_are_left_out(tmp_path: Path) -> None:
    gta5, cityscapes = make_gta5(tmp_path / "gta5"), make_cityscapes(tmp_path / "cityscapes")
    everything = _list(tmp_path / "train.txt", "00001.png", "00002.png", "15188.png")
    target = target_folder(DataConfig(root=gta5, train_list=everything))
    source = source_folder(SourceConfig(root=gta5, train_list=everything), read_folder(cityscapes))
    for folder in (target, source):
        assert [sample.name for sample in folder.train] == ["00001", "00002"]
    partition = draw_partition(read_folder(gta5), str(everything), 0)
    assert [sample.name for sample in partition.labeled] == ["00001", "00002"]
    with pytest.raises(UserError, match="of every image in the list the mask is of another size"):
        draw_partition(read_folder(gta5), str(_list(tmp_path / "odd.txt", "15188")), 0)


def test_the_source_is_its_train_images_with_masks(source: Path, dataset: Path) -> None:
    folder = source_folder(SourceConfig(root=source), target_folder(DataConfig(root=dataset)))
    assert [sample.name for sample in folder.train] == ["train0", "train1", "train2", "train3"]


def test_a_source_with_other_classes_is_refused(tmp_path: Path, dataset: Path) -> None:
    other = make_dataset(tmp_path / "other")
    (other / "dataset.yaml").write_text("names: [ground, tree, box, car]\n")
    with pytest.raises(
        UserError, match=r"has the classes ground, tree, box, car.*in this order: ground, box, tree, car"
    ):
        source_folder(SourceConfig(root=other), target_folder(DataConfig(root=dataset)))


def test_a_source_without_masks_is_refused(tmp_path: Path, source: Path, dataset: Path) -> None:
    unmasked = SourceConfig(root=source, train_list=_list(tmp_path / "list.txt", "train4"))
    with pytest.raises(UserError, match="no train image of the source has a mask"):
        source_folder(unmasked, target_folder(DataConfig(root=dataset)))


def test_a_run_with_a_source_trains_and_is_scored_on_the_target(
    tmp_path: Path, source: Path, dataset: Path, capsys: Capsys
) -> None:
    recipe, run = write_recipe(tmp_path / "recipe.yaml", dataset), tmp_path / "run"
    scored = _list(tmp_path / "test.txt", "test1", "test2")
    settings = [f"source={source}", f"data.test_list={scored}", "data.labels=2", "training.labeled_batch=3"]
    words = [word for setting in settings for word in ("--set", setting)]
    answer = command(capsys, "train", recipe, "--out", run, *words)
    assert answer.code == 0, answer
    assert "2 labeled and 8 unlabeled images, 4 of a source domain" in " ".join(answer.out.split())
    assert yaml.safe_load((run / "recipe.yaml").read_text())["source"]["root"] == str(source)
    scores = command(capsys, "evaluate", run, "--split", "test", "--json")
    assert json.loads(scores.out)["images"] == 2


def test_a_batch_of_one_cannot_hold_two_domains(tmp_path: Path, source: Path, dataset: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, labeled_batch=1)
    answer = command(capsys, "train", recipe, "--out", tmp_path / "run", "--set", f"source={source}")
    assert_mistake(answer, "training.labeled_batch", "images of both")
    assert not (tmp_path / "run").exists()


def test_a_method_of_two_domains_asks_for_the_source(tmp_path: Path, dataset: Path, capsys: Capsys) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", dataset, "joint")
    answer = command(capsys, "train", recipe, "--out", tmp_path / "run")
    assert_mistake(answer, "source", "the method joint learns from a source domain", "--set source=FOLDER")


@pytest.mark.parametrize("place", ["train", "val", "test", "unlabeled"])
def test_a_source_that_shows_a_mask_of_the_target_is_refused(tmp_path: Path, dataset: Path, place: str) -> None:
    other = make_dataset(tmp_path / "other")
    image = next(path for path in sorted((dataset / place).rglob("*")) if path.is_file() and "masks" not in path.parts)
    copy = next((other / "train" / "images").iterdir())
    copy.unlink()
    copy.symlink_to(image)
    with pytest.raises(UserError, match=rf"1 images of the source.*such as {copy.stem} in {place}.*source.train_list"):
        source_folder(SourceConfig(root=other), target_folder(DataConfig(root=dataset)))


def test_source_only_trains_on_the_source_and_needs_no_mask_of_the_target(
    tmp_path: Path, source: Path, dataset: Path, capsys: Capsys
) -> None:
    target = shutil.copytree(dataset, tmp_path / "target")
    shutil.rmtree(target / "train" / "masks")
    recipe, run = write_recipe(tmp_path / "recipe.yaml", target, "source_only", labeled_batch=1), tmp_path / "run"
    settings = ("--set", f"source={source}", "--set", "source.resize=0.5", "--set", "data.crop=24")
    answer = command(capsys, "train", recipe, "--out", run, *settings)
    assert answer.code == 0, answer
    assert "source_only: 4 labeled and 0 unlabeled images, 4 classes" in " ".join(answer.out.split())
    assert command(capsys, "evaluate", run, "--split", "test").code == 0
    data = prepare_data(read_recipe(run / "recipe.yaml"))
    assert [sample.image.parent.parent.parent for sample in data.partition.labeled] == [source] * 4
    assert data.labeled.picture(0).image.shape == (3, 24, 32)


def test_target_only_sees_nothing_of_a_source(tmp_path: Path, source: Path, dataset: Path) -> None:
    alone = read_recipe(write_recipe(tmp_path / "recipe.yaml", dataset, "target_only"))
    beside = alone.model_copy(update={"source": SourceConfig(root=source)})
    assert prepare_data(alone).source is prepare_data(beside).source is None
    assert prepare_data(beside.model_copy(update={"method": make_method_config("joint")})).source is not None
