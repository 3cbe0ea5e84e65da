"""The recipes of recipes/paper/ and the command around them: every method of every recipe takes steps."""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console

import paper
import paper_steps
from fewmask.data.batch import Batch
from fewmask.methods import CBC, S4GAN, ClassBankMethod, ContrastConfig, Now, Step
from fewmask.models.build import NetConfig, build_net
from fewmask.recipe import Recipe, make_recipe, recipe_yaml
from fewmask.run.folder import RunFolder
from fewmask.study.origin import machine
from fewmask.study.results import Origin
from fewmask.training.start import train_recipe
from fewmask.use.model import load
from miniatures import make_cityscapes, make_gta5, make_voc, save_mask
from table import ROOT
from toy import NET

TABLES = {number: paper.read_table(number) for number in (2, 3, 4)}
ONE_OF_EACH = {(run.recipe, run.method): run for table in TABLES.values() for run in paper.runs_of(table, [0])}
OF_EACH_METHOD = {run.method: run for run in ONE_OF_EACH.values()}
OF_EACH_RECIPE = {run.recipe: run for run in ONE_OF_EACH.values()}
ONE_OF_BOTH = {(run.recipe, run.method): run for run in (*OF_EACH_METHOD.values(), *OF_EACH_RECIPE.values())}
TIMED = [OF_EACH_METHOD[name] for name in ("class_bank", "dmt", "s4gan")]  # a bank, stages, and a critic
NETS = {
    net.model_dump_json(): net
    for run in ONE_OF_EACH.values()
    for net in [paper.planned(run, {})[0].net.model_copy(update={"weights": "none"})]
}
TRAINED = "steps, learning rate, labeled and unlabeled images in a batch, crop, resize, class balance"
PAPER = {  # sections 4.1 and 4.2, in the order of TRAINED; unlabeled images: half of the labeled ones, as in the code
    "cityscapes_deeplabv2_coco": (150000, 2e-4, 5, 2, 512, 0.5, True),
    "cityscapes_deeplabv2_imagenet": (150000, 2e-4, 5, 2, 512, 0.5, True),
    "cityscapes_deeplabv3plus": (150000, 4e-4, 7, 3, 512, None, True),
    "gta5_cityscapes_deeplabv2_imagenet": (150000, 2e-4, 5, 2, 512, 0.5, True),
    "voc_deeplabv2_coco": (150000, 2e-4, 14, 7, 321, None, False),
    "voc_deeplabv2_imagenet": (150000, 2e-4, 14, 7, 321, None, False),
    "voc_deeplabv3plus": (150000, 4e-4, 20, 10, 321, None, False),
}
RESNETS = {"deeplabv2": "resnet101.tv_in1k", "deeplabv3plus_full": "resnet50.tv_in1k"}
NUMBERS = {  # by row; of the rows of ours, ImageNet weights come before those of COCO
    2: """
        1/30=100 1/8=372 1/4=744 FS=all
        58.8 62.3 66.4 | 59.3 61.9 66.0 | 51.2 60.3 63.9 67.5 | 48.7 60.5 64.4 66.9 | 54.1 61.4 63.6 66.2
        54.8 63.0 68.2 | - - - 66.4 | 58.0 63.0 64.8 | 49.5 - - 67.3 | 59.4 64.4 65.9
        67.4 70.7 74.8 | 69.7 72.7 77.5 | - - - 74.2 | 64.9 70.1 71.7
    """,
    3: """
        1/50=212 1/20=530 1/8=1323 FS=all
        57.2 64.7 69.5 74.9 | 63.3 67.2 71.4 73.6 | 64.8 66.5 67.6 72.5 | 65.5 69.3 70.7 73.6 | 66.2 67.8 71.0 74.1
        67.2 69.9 72.7 74.8 | - - - 72.6 | 65.6 67.8 69.9 | - - - 74.1 | 68.2 70.1 71.8
        70.2 76.3 | 72.4 76.5 | - - - 75.9 | 63.4 69.1 72.0
    """,
    4: """
        1/30=100 1/15=200 1/6=500 1/3=1000
        - - - - | 54.2 56.0 60.2 64.5 | 55.2 57.0 60.4 64.6 | 59.9 62.0 64.2 65.6
        - - - - | 58.0 59.9 63.7 65.1
    """,
}
"""The tables as the paper prints them: columns and how many labels they are, then a row between two bars."""
SEEDS = [0, 1, 2]
SMALL: dict[str, dict[str, Any]] = {
    "class_bank": {"method.dim": 8, "method.bank_slots": 4},
    "cbc": {"method.num_rounds": 1},
    "dmt": {"method.num_phases": 1},
    "ecs": {"method.corrector_encoder": NET["encoder"], "data.labels": 2},
}
"""What a method is set to besides, so that its steps are small and its stages few."""
RUN = paper.Run("cityscapes_deeplabv2_imagenet", "class_bank", 100, 0)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every data set in miniature, in its own layout."""
    root = tmp_path_factory.mktemp("data")
    voc = make_voc(root / "voc")
    for name in ("2008_000002", "2012_004331"):
        save_mask(voc / f"SegmentationClassAug/{name}.png", [0, 1, 20, 255])
    folders = {"cityscapes": make_cityscapes(root / "cityscapes"), "gta5": make_gta5(root / "gta5"), "voc": voc}
    return {name: str(folder) for name, folder in folders.items()}


def miniature(recipe: Recipe) -> Recipe:
    """The recipe with a small network, crop and bank, one label, and two steps."""
    changes: dict[str, Any] = {
        "net": NET,
        "data.crop": 32,
        "data.labels": 1,
        "training.steps": 2,
        "training.device": "cpu",
    }
    changes |= {"training.precision": "32", "training.feature_picture": False}
    changes |= SMALL.get(recipe.method.name, {})
    return make_recipe(recipe.model_dump(mode="json"), changes)


@pytest.mark.parametrize("run", ONE_OF_BOTH.values(), ids=lambda run: f"{run.recipe}-{run.method}")
def test_recipe_trains_and_is_scored_on_its_data(run: Any, places: dict[str, str], tmp_path: Path) -> None:
    recipe = miniature(paper.planned(run, places)[0])
    offline = recipe.model_copy(update={"method": recipe.method.with_weights(lambda _: "none")})
    train_recipe(offline, tmp_path / run.name, Console(quiet=True))
    scores = load(tmp_path / run.name).evaluate("val")
    assert paper.scored(tmp_path / run.name) == 100 * scores["miou"]


@pytest.mark.parametrize("net", NETS.values(), ids=lambda net: net.arch)
def test_network_of_a_recipe_exists(net: NetConfig) -> None:
    with torch.device("meta"):
        assert build_net(net, 19).num_classes == 19


@pytest.mark.parametrize("net", NETS.values(), ids=lambda net: net.arch)
def test_imagenet_weights_are_those_of_torchvision(
    net: NetConfig,
) -> None:  # with COCO's, those of dmt's second network
    assert timm.get_pretrained_cfg(net.encoder).tag == "tv_in1k"


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / paper.FOLDER).glob("*_*.yaml")))
def test_recipe_has_the_values_of_the_paper(name: str) -> None:
    recipe = paper.planned(paper.Run(name, "class_bank", 100, 0), {})[0]
    training, data, method = recipe.training, recipe.data, recipe.method
    assert isinstance(method, ClassBankMethod.Config)
    batches = (training.labeled_batch, training.unlabeled_batch)
    found = (training.steps, training.learning_rate, *batches, data.crop, data.resize, method.class_balance)
    assert found == PAPER[name], TRAINED
    assert (training.optimizer, training.momentum, training.poly_power, training.weight_decay) == (
        "sgd",
        0.9,
        0.9,
        5e-4,
    )
    assert recipe.source is None or recipe.source.resize == data.resize
    net = recipe.net
    arch = "deeplabv3plus_full" if "deeplabv3plus" in name else "deeplabv2"
    weights = "resnet101COCO-41f33a49.pth" if name.endswith("_coco") else "imagenet"
    assert (net.arch, net.encoder, net.weights, net.batchnorm) == (arch, RESNETS[arch], weights, "affine_frozen")
    assert arch != "deeplabv2" or net.aspp_branches == 4


@pytest.mark.parametrize("number", TABLES)
def test_tables_have_the_columns_and_the_numbers_of_the_paper(number: int) -> None:
    table = TABLES[number]
    columns, *rows = NUMBERS[number].strip().splitlines()
    assert " ".join(f"{name}={labels}" for name, labels in table.columns.items()) == columns.strip()
    printed_there = [cells.split() for line in rows for cells in line.split("|")]
    ours = [["-" if cell is None else str(cell) for cell in row.paper.values()] for row in table.rows]
    assert ours == printed_there
    assert all(list(row.paper) == [name for name in table.columns if name in row.paper] for row in table.rows)


def test_data_that_is_not_that_of_the_paper_is_told(places: dict[str, str]) -> None:
    there = {"cityscapes": places["cityscapes"], "voc": places["voc"], "gta5": "elsewhere"}
    assert paper.other_data(there) == [
        "cityscapes is not that of the paper: 2 train images have masks, not 2975",
        "voc is not that of the paper: 3 train images have masks, not 10582",
    ]
    assert paper.other_data({"voc": "VOCdevkit/VOC2012"}) == []  # commands for another machine


def write_scores(folder: Path, miou: float) -> None:
    """A run that is finished and scored, as the table reads it."""
    folder.mkdir(parents=True)
    RunFolder(folder).scores_file("val").write_text(json.dumps({"miou": miou, "per_class": {}}))


def printed(number: int, folder: Path, steps: dict[Any, Any] | None = None) -> dict[str, list[str]]:
    """The lines of a table by their words, cells without the frame; of equal names the first counts."""
    text = io.StringIO()
    paper.print_table(TABLES[number], folder, SEEDS, steps or {}, Console(file=text, width=160))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.getvalue().splitlines() if "│" in line]
    return {line[0]: line[1:] for line in reversed(lines)}


def test_table_shows_mean_and_spread_over_the_finished_splits_beside_the_number_of_the_paper(tmp_path: Path) -> None:
    for seed, miou in ((0, 0.55), (2, 0.57)):
        write_scores(tmp_path / RUN._replace(seed=seed).name, miou)
    write_scores(tmp_path / paper.Run(RUN.recipe, "supervised", "all", 0).name, 0.6543)
    lines = printed(2, tmp_path)
    assert lines["class_bank *"] == ["58.0 | 56.00 ± 1.41 (2)", "63.0 | -", "64.8 | -", "", "not measured"]
    assert lines["supervised *"] == ["- | -", "- | -", "- | -", "66.4 | 65.43 (1)", "not measured"]
    assert lines["s4GAN *"] == ["", "59.3 | -", "61.9 | -", "66.0 | -", "not measured"]
    assert printed(4, tmp_path)["class_bank"][0] == "59.9 | -"


def test_cost_counts_every_run_of_a_row_and_only_steps_of_a_gpu(tmp_path: Path) -> None:
    steps = tmp_path / "steps.csv"
    lines = [
        f"{RUN.recipe},class_bank,{device},{seconds},{device} box" for device, seconds in (("cuda", 0.24), ("cpu", 9))
    ]
    steps.write_text("\n".join(["recipe,method,device,seconds,machine", *lines]))
    measured = paper.gpu_steps(steps)
    assert measured.keys() == {(RUN.recipe, "class_bank")}
    assert printed(2, tmp_path, measured)["class_bank *"][-1] == "90 (9 runs)"  # 9 * 150000 steps * 0.24 s / 3600
    assert paper.gpu_steps(tmp_path / "none.csv") == {}


def test_command_starts_goes_on_scores_or_does_nothing(tmp_path: Path) -> None:
    out, places = tmp_path / RUN.name, {"cityscapes": "the cities", "gta5": "gta", "coco": "coco.pth"}
    score = f"fewmask evaluate {out}"
    start = f"fewmask train recipes/paper/{RUN.recipe}.yaml --method class_bank --labels 100 --split-seed 0"
    assert paper.command(RUN, tmp_path, places) == f"{start} --set 'data.root=the cities' --out {out} && {score}"
    for run, settings in (
        (RUN._replace(recipe="cityscapes_deeplabv2_coco"), "--set net.weights=coco.pth"),
        (RUN._replace(recipe="gta5_cityscapes_deeplabv2_imagenet"), "--set source.root=gta"),
    ):
        assert f"--set 'data.root=the cities' {settings} --out" in paper.command(run, tmp_path, places)
    out.mkdir()
    (out / "recipe.yaml").write_text(recipe_yaml(paper.planned(RUN, places)[0]))
    assert paper.command(RUN, tmp_path, places) == f"fewmask train --resume {out} && {score}"
    for network in ("student", "teacher"):
        RunFolder(out).model_file(network).touch()
    assert paper.command(RUN, tmp_path, places) == score
    RunFolder(out).scores_file("val").touch()
    assert paper.command(RUN, tmp_path, places) == ""


def test_all_masks_have_one_split_and_methods_that_need_unlabeled_images_no_run() -> None:
    rows = {row.name: row for row in TABLES[3].rows}
    assert len(paper.cell_runs(TABLES[3], rows["supervised *"], "1/50", SEEDS)) == 3
    assert paper.cell_runs(TABLES[3], rows["supervised *"], "FS", SEEDS) == [
        paper.Run("voc_deeplabv3plus", "supervised", "all", 0)
    ]
    assert len(paper.cell_runs(TABLES[3], rows["CBC +"], "1/50", SEEDS)) == 3
    assert paper.cell_runs(TABLES[3], rows["CBC +"], "FS", SEEDS) == []


def test_settings_of_a_row_are_in_its_recipe_and_its_command(tmp_path: Path) -> None:
    row = next(row for row in TABLES[2].rows if row.method == "s4gan")
    run = paper.cell_runs(TABLES[2], row, "1/8", SEEDS)[0]
    method = paper.planned(run, {})[0].method
    assert isinstance(method, S4GAN.Config)
    assert (method.threshold, method.discriminator_rate) == (0.7, 1e-5)
    words = "--set method.threshold=0.7 --set method.discriminator_rate=1e-05"
    assert words in paper.command(run, tmp_path, {})


def test_run_by_another_recipe_is_told(tmp_path: Path) -> None:
    own, _ = paper.planned(RUN, {"cityscapes": "here"})
    for seed, changes in ((0, {"data.root": "moved"}), (1, {"data.split_seed": 1, "training.steps": 5})):
        run = RunFolder(tmp_path / RUN._replace(seed=seed).name)
        write_scores(run.path, 0.5)
        run.recipe_file.write_text(recipe_yaml(make_recipe(own.model_dump(mode="json"), changes)))
    runs = [RUN._replace(seed=seed) for seed in SEEDS]
    other = RUN._replace(seed=1).name
    assert paper.deviations(runs, tmp_path, {}) == [f"{other} is not by its recipe: training.steps 5, not 150000"]


def test_weights_of_another_name_make_another_run_and_their_place_does_not(tmp_path: Path) -> None:
    run = RUN._replace(recipe="cityscapes_deeplabv2_coco")
    for seed, weights in ((0, "/there/resnet101COCO-41f33a49.pth"), (1, "/there/other.pth")):
        files = RunFolder(tmp_path / run._replace(seed=seed).name)
        write_scores(files.path, 0.5)
        recipe, _ = paper.planned(run._replace(seed=seed), {"cityscapes": "here", "coco": weights})
        files.recipe_file.write_text(recipe_yaml(recipe))
    (line,) = paper.deviations([run._replace(seed=seed) for seed in SEEDS], tmp_path, {})
    other = run._replace(seed=1).name
    assert line == f"{other} is not by its recipe: net.weights /there/other.pth, not resnet101COCO-41f33a49.pth"


@pytest.mark.parametrize("run", TIMED, ids=lambda run: run.method)
def test_steps_of_a_method_are_timed_on_noise_without_the_hub(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewmask.models.build.hub_or_cache", lambda: pytest.fail("pretrained weights are asked for"))
    row = paper_steps.measure_step(miniature(paper.planned(run, {})[0]), 19, 1)
    assert row["device"] == "cpu"
    assert float(row["seconds"]) > 0
    assert float(row["peak_mib"]) > 0


def test_a_late_step_of_every_stage_counts_by_the_share_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def step(method: CBC, batch: Batch, now: Now) -> Step:
        timed.append(now)
        return original(method, batch, now)

    def median_seconds(steps: dict[str, Any], *_: Any) -> dict[str, float]:
        return {stage: {"pretrain": 9.0, "train": 4.5}.get(stage, 2.25) for stage in steps}

    original = CBC.step
    monkeypatch.setattr(CBC, "step", step)
    monkeypatch.setattr(paper_steps, "median_seconds", median_seconds)
    recipe = miniature(paper.planned(OF_EACH_METHOD["cbc"], {})[0])
    recipe = recipe.model_copy(update={"pretrain": ContrastConfig(dim=8)})
    assert paper_steps.measure_step(recipe, 19, 1)["seconds"] == "5"  # 9 / 3 + 4.5 * 2 / 9 + 2.25 * 4 / 9
    assert {now.stage for now in timed} == {"train", "round1"}
    assert all(now.progress >= 0.9 for now in timed)


def test_step_measured_once_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = []

    def measure(recipe: Recipe, num_classes: int, repeats: int) -> dict[str, str]:
        classes.append(num_classes)
        return {"device": "cuda", "seconds": "1"}

    monkeypatch.setattr(paper, "measure_step", measure)
    monkeypatch.setattr("table.origin", lambda _: Origin("command", "commit", machine(), "date"))
    for number in (3, 4, 4):
        paper.add_steps(TABLES[number], tmp_path / "steps.csv", 5)
    counts = {number: len({(row.recipe, row.method) for row in TABLES[number].rows}) for number in (3, 4)}
    assert classes == [21] * counts[3] + [19] * counts[4]
    assert len(paper.gpu_steps(tmp_path / "steps.csv")) == sum(counts.values())


@pytest.mark.parametrize("text", ["cityscapes", "cityscapes=", "kitti=there"])
def test_place_needs_a_known_name_and_a_path(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not NAME=PATH with one of cityscapes, voc, gta5"):
        paper.place(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--measure 0", "argument --measure: '0' is no whole number of 1 or more"),
        ("--measure few", "argument --measure: 'few' is no whole number of 1 or more"),
        ("--split-seeds 0 -1", "argument --split-seeds: '-1' is no whole number of 0 or more"),
        ("--split-seeds 0 1 0", "argument --split-seeds: a seed stands there twice"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["paper.py", "2", *words.split()])
    with pytest.raises(SystemExit, match="2"):
        paper.main()
    assert capsys.readouterr().err.endswith(f"paper.py: error: {message}\n")


def test_a_mistake_of_a_person_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scores(tmp_path / RUN.name, 0.5)  # without the recipe of the run
    monkeypatch.setattr("sys.argv", ["paper.py", "2", "--runs", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        paper.main()
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith(f"paper.py: {tmp_path / RUN.name}: this is no run folder")
    )
