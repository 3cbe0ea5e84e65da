"""Recipes: YAML there and back, single settings, and one line for every mistake."""

from pathlib import Path

import pytest
import yaml

from fewmask.augment import STRONG
from fewmask.errors import UserError
from fewmask.methods import DEFAULT, METHODS, ContrastConfig
from fewmask.methods.parts.pretraining import DISTORTION
from fewmask.recipe import (
    Recipe,
    SourceConfig,
    changed_settings,
    make_method_config,
    make_recipe,
    parse_settings,
    read_recipe,
    recipe_for,
    recipe_yaml,
    with_absolute_paths,
)

RECIPES = Path(__file__).parents[2] / "recipes"
ABLATIONS = sorted((RECIPES / "ablations").glob("*.yaml"))
TABLES = sorted((RECIPES / "paper").glob("table*.yaml"))  # their runs are planned in tests/test_paper.py
SHIPPED = sorted({*RECIPES.rglob("*.yaml")} - {*ABLATIONS, *TABLES})
SMALLEST = {"data": {"root": "toy"}, "method": "class_bank"}
FULL = {
    "data": {
        "root": "tüy",
        "labels": "1/30",
        "split_seed": 3,
        "resize": [64, 96],
        "crop": [32, 48],
        "cache": True,
        "workers": 2,
    },
    "net": {
        "arch": "unet",
        "encoder": "resnet18",
        "weights": "none",
        "options": {"encoder_depth": 3, "decoder_channels": [32, 16, 8]},
        "batchnorm": "frozen",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.3, 0.4],
    },
    "method": {
        "name": "class_bank",
        "deviations": ["lowest_ranked", "constant_bank_weights"],
        "teacher_momentum": 0.9,
        "strong": {"blur_probability": 0.7, "scale_range": [0.5, 2.0]},
    },
    "training": {
        "steps": 12,
        "labeled_batch": 3,
        "unlabeled_batch": 5,
        "optimizer": "sgd",
        "learning_rate": 0.25,
        "encoder_rate": 0.1,
        "accumulate": 2,
        "clip_norm": 0.5,
        "weight_decay": 0.0,
        "momentum": 0.5,
        "poly_power": 1.0,
        "seed": 7,
        "device": "cpu",
        "devices": 1,
        "precision": "32",
        "checkpoint_every": 2,
        "log_every": 3,
    },
}


@pytest.mark.parametrize("settings", [FULL, *(SMALLEST | {"method": method.name} for method in METHODS)])
def test_complete_recipe_is_read_back_as_it_was(settings: dict[str, object], tmp_path: Path) -> None:
    recipe = make_recipe(settings)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_yaml(recipe), encoding="utf-8")
    again = read_recipe(path)
    assert again == recipe
    assert changed_settings(recipe, again) == {}
    blocks = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert blocks["data"].keys() == type(recipe.data).model_fields.keys()
    assert blocks["method"].keys() == type(recipe.method).model_fields.keys()


def test_every_setting_of_a_recipe_arrives() -> None:
    recipe = make_recipe(FULL)
    for block in ("data", "net", "training"):
        for key, value in FULL[block].items():  # type: ignore[attr-defined]
            found = getattr(getattr(recipe, block), key)
            wanted = tuple(value) if isinstance(found, tuple) else value
            assert (str(found) if key == "root" else found) == wanted, key


def test_settings_that_have_moved_are_read_at_their_old_place(tmp_path: Path) -> None:
    old = tmp_path / "recipe.yaml"
    blocks = "data: {root: here}\nmethod: METHOD\ntraining: {steps: 7, attention_rate: 0.5, alarm_excess: 4.0}\n"
    old.write_text(blocks.replace("METHOD", "class_bank"))
    recipe = read_recipe(old)
    assert (recipe.method.attention_rate, recipe.method.alarm_excess) == (0.5, 4.0)  # type: ignore[attr-defined]
    assert recipe.training.steps == 7
    old.write_text(blocks.replace("METHOD", "supervised"))
    assert read_recipe(old).method == make_method_config("supervised")  # which has neither
    old.write_text(
        "data: {root: here}\nmethod: {name: class_bank, attention_rate: 0.1}\ntraining: {attention_rate: null}\n"
    )
    assert read_recipe(old).method.attention_rate == 0.1  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(RECIPES)))
def test_shipped_recipe_loads(path: Path) -> None:
    assert isinstance(read_recipe(path), Recipe)


def test_settings_change_every_block_and_the_method() -> None:
    texts = [
        "data.labels=1/30",
        "net.encoder=resnet18",
        "net.options.encoder_depth=3",
        "method.contrast_weight=0.2",
        "method.strong.blur_probability=0.5",
        "training.learning_rate=5e-4",
        "training.precision=32",
    ]
    recipe = make_recipe(SMALLEST, parse_settings(texts))
    assert recipe.data.labels == "1/30"
    assert recipe.net.encoder == "resnet18"
    assert recipe.net.options == {"encoder_depth": 3}
    assert recipe.method.contrast_weight == 0.2  # type: ignore[attr-defined]
    assert recipe.training.learning_rate == 5e-4
    assert recipe.training.precision == "32"


@pytest.mark.parametrize("texts", [["method=supervised"], ["method.name=supervised"]])
def test_setting_chooses_the_method(texts: list[str]) -> None:
    recipe = make_recipe(SMALLEST, parse_settings(texts))
    assert recipe.method == make_method_config("supervised")
    assert recipe.method_type.name == "supervised"


def test_part_of_an_augmentation_leaves_the_rest_of_it_strong() -> None:
    config = make_method_config({"name": "class_bank", "strong": {"blur_probability": 0.5}})
    assert config.strong == STRONG.model_copy(update={"blur_probability": 0.5})  # type: ignore[attr-defined]


def test_later_setting_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {root: toy}\nmethod: {name: class_bank, dim: 8}\ntraining: {steps: 5, seed: 2}\n")
    recipe = recipe_for(path, {"training.steps": 9, "method.bank_slots": 4})
    assert (recipe.training.steps, recipe.training.seed) == (9, 2)
    assert (recipe.method.dim, recipe.method.bank_slots) == (8, 4)  # type: ignore[attr-defined]


def test_a_block_as_a_setting_changes_what_it_names_and_keeps_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {root: toy}\nmethod: {name: class_bank, dim: 8}\ntraining: {steps: 5, seed: 2}\n")
    blocks = {"training": {"steps": 9}, "method": {"bank_slots": 4}, "data": {"resize": 0.5}}
    assert recipe_for(path, blocks) == recipe_for(
        path, {"training.steps": 9, "method.bank_slots": 4, "data.resize": 0.5}
    )


def test_a_block_of_the_contrast_changes_what_it_names_at_every_depth(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "data: {root: toy}\nmethod: {name: label_contrast, contrast: {temperature: 0.5, loss: cross}}\n"
        "pretrain: {temperature: 0.5, loss: cross}\nsource: DAY\n"
    )
    loss = {"loss": "batch"}
    recipe = recipe_for(path, {"pretrain": loss, "method": {"contrast": loss}, "source": {"resize": 0.5}})
    assert recipe.pretrain == ContrastConfig(temperature=0.5, loss="batch")
    assert recipe.method.contrast == recipe.pretrain  # type: ignore[attr-defined]
    assert recipe.source == SourceConfig(root=Path("DAY"), resize=0.5)
    assert recipe_for(path, {"pretrain": "label_contrast"}).pretrain == ContrastConfig(temperature=0.5, loss="cross")


def test_the_distortion_of_a_copy_moves_no_pixel() -> None:
    with pytest.raises(UserError, match=r"^recipe: pretrain\.distortion: .*flip_probability belongs in contrast\.weak"):
        make_recipe(SMALLEST, {"pretrain.distortion.flip_probability": 0.5})


def test_a_method_as_a_block_with_its_name_takes_nothing_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {root: toy}\nmethod: {name: class_bank, dim: 8}\n")
    assert recipe_for(path, {"method": {"name": "supervised"}}).method == make_method_config("supervised")


def test_another_method_by_name_keeps_what_it_knows_of_the_file_and_all_that_is_set_beside(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {root: toy}\nmethod: {name: label_contrast, class_balance: false, pseudo_labels: true}\n")
    changes = {"method.dim": 8, "method.name": "class_bank"}
    assert recipe_for(path, changes).method == make_method_config(
        {"name": "class_bank", "class_balance": False, "dim": 8}
    )
    same = recipe_for(path, {"method.name": "label_contrast"}).method
    assert same.pseudo_labels is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["none", "imagenet"])
def test_a_run_folder_of_that_name_does_not_stand_for_random_or_imagenet_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    Path(name, "student.safetensors").touch()
    recipe = make_recipe(SMALLEST, {"net.weights": name})
    assert with_absolute_paths(recipe).net.weights == name


def test_a_path_is_taken_where_a_text_names_a_file() -> None:
    recipe = make_recipe(SMALLEST, {"net.weights": Path("a.pth"), "data.root": Path("b"), "source": Path("c")})
    assert (recipe.net.weights, recipe.data.root) == ("a.pth", Path("b"))
    assert recipe.source == SourceConfig(root=Path("c"))


def test_folder_gets_the_default_recipe() -> None:
    assert recipe_for(Path("toy")) == make_recipe(SMALLEST | {"method": DEFAULT})


@pytest.mark.parametrize(
    ("given", "kept"), [(12, 12), ("12", "12"), ("1/30", "1/30"), (0.5, "0.5"), (Path("a.txt"), "a.txt"), (None, None)]
)
def test_labels_are_kept_as_they_were_written(given: object, kept: object) -> None:
    assert make_recipe(SMALLEST, {"data.labels": given}).data.labels == kept


def test_changed_settings_name_the_path_and_both_values() -> None:
    before = make_recipe(SMALLEST)
    after = make_recipe(SMALLEST, {"training.steps": 9, "method.strong.hue": 0.3, "net.options.encoder_depth": 3})
    assert changed_settings(before, after) == {
        "net.options.encoder_depth": (None, 3),
        "method.strong.hue": (0.1, 0.3),
        "training.steps": (3000, 9),
    }
    assert changed_settings(before, make_recipe(SMALLEST | {"method": "supervised"}))["method.name"] == (
        "class_bank",
        "supervised",
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"trainig.steps": 3},
            "there is no setting trainig. Known here: data, net, method, source, pretrain, training (nearest: ",
        ),
        ({"training.stepps": 3}, "there is no setting training.stepps. Known here: steps, "),
        ({"net.encodr": "x"}, "there is no setting net.encodr. Known here: arch, encoder, "),
        ({"method.bank_slot": 3}, "there is no setting method.bank_slot. Known here: name, mode, "),
        ({"method.strong.blur": 3}, "there is no setting method.strong.blur. Known here: flip_probability, "),
        ({"method.name": "clas_bank"}, "method: there is no method 'clas_bank'. Choose one of supervised, class_bank"),
        ({"method": 3}, "method: 3 names no method"),
        ({"method.mode": "relased"}, "method.mode is 'relased': it should be 'paper' or 'released'"),
        ({"method.strong": 3}, "method.strong is 3: it should be a block of settings"),
        ({"training": 3}, "training is 3: it should be a block of settings"),
        ({"training.steps": "many"}, "training.steps is 'many': it should be a valid integer."),
        ({"training.steps": 0}, "training.steps is 0: it should be greater than or equal to 1"),
        ({"training.score_every": True}, "training.score_every is True: it should be a number"),
        ({"training.encoder_rate": True}, "training.encoder_rate is True: it should be a number"),
        ({"data.crop": True}, "data.crop is True: it should be a number"),
        ({"method.dim": True}, "method.dim is True: it should be a number"),
        ({"method.strong.hue": True}, "method.strong.hue is True: it should be a number"),
        ({"pretrain.temperature": False}, "pretrain.temperature is False: it should be a number"),
        ({"training.learning_rate": float("inf")}, "training.learning_rate is inf: it should be a finite number"),
        ({"method.strong.blur_sigma": [1, float("inf")]}, "it should be a finite number"),
        ({"data.crop": [32]}, "data.crop is [32]: it has too few entries, or it should be a valid integer."),
        ({"steps": 5}, "there is no setting steps. Write training.steps."),
        ({"training.crop": 5}, "there is no setting training.crop. Write data.crop."),
        ({"method.encoder": "x"}, "there is no setting method.encoder. Write net.encoder."),
        ({"pretrain": "cutmix"}, "pretrain is 'cutmix': there is only label_contrast, or a block of its settings."),
        ({"training.precision": 8}, "training.precision is '8': it should be 'auto', '32', 'bf16' or '16'"),
        ({"data.crop": "all"}, "data.crop is 'all': it should be a list, or it should be a valid integer."),
        ({"data.crop": [1, 2, 3]}, "it has too many entries"),
        ({"data.resize": -1}, "data.resize is -1: it should be a list, or it should be greater than 0."),
        ({"data.root": None}, "data.root is None: it should be a path"),
        ({"net.mean": [1, 2]}, "net.mean is [1, 2]: "),
    ],
)
def test_mistake_in_a_setting_is_one_line(changes: dict[str, object], line: str) -> None:
    with pytest.raises(UserError) as caught:
        make_recipe(SMALLEST, changes)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "a recipe has the keys data, net, method and training"),
        ("- data\n", "a recipe has the keys data, net, method and training"),
        ("1: 2\n", "data is missing"),
        ("data: [\n", "this is not YAML (while parsing"),
        ("data: toy\nmethod: supervised\n", "data is 'toy': it should be a block of settings"),
        ("data: {root: toy}\n", "method is missing"),
        ("method: supervised\n", "data is missing"),
        ("data: {}\nmethod: supervised\n", "data.root is missing"),
        (
            "data: {root: toy}\nmetod: supervised\n",
            "there is no setting metod. Known here: data, net, ",
        ),
        ("data: {root: toy}\nmethod: [class_bank]\n", "['class_bank'] names no method"),
        ("data: {root: toy}\nmethod: {dim: 8}\n", "method: {'dim': 8} names no method"),
    ],
)
def test_mistake_in_a_recipe_file_is_one_line(text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recipe_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such recipe"):
        recipe_for(tmp_path / "lost.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match=r"the recipe cannot be read \(Is a directory\)"):
        recipe_for(tmp_path / "folder.yaml")
    (tmp_path / "latin.yaml").write_bytes("data: {root: tüy}".encode("latin-1"))
    with pytest.raises(UserError, match="this is not YAML"):
        recipe_for(tmp_path / "latin.yaml")


def test_the_file_of_the_classes_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("names: [a, b]\n")
    with pytest.raises(UserError, match=rf"names the classes of a dataset, and is no recipe. Give {tmp_path}\."):
        recipe_for(tmp_path / "dataset.yaml")


def test_a_source_may_be_given_as_a_path() -> None:
    recipe = make_recipe(SMALLEST, {"source": Path("day"), "source.resize": 0.5})
    assert recipe.source is not None
    assert (recipe.source.root, recipe.source.resize) == (Path("day"), 0.5)


def test_setting_needs_an_equals_sign() -> None:
    with pytest.raises(UserError, match=r"--set: 'training.steps' is not a setting"):
        parse_settings(["training.steps"])


def test_setting_that_is_no_yaml_is_taken_as_text() -> None:
    assert parse_settings(["data.root=a: [b", "net.weights=none", "data.labels=null"]) == {
        "data.root": "a: [b",
        "net.weights": "none",
        "data.labels": None,
    }


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_every_row_of_an_ablation_is_another_recipe(path: Path) -> None:
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    recipes = [make_recipe(SMALLEST, row["set"]) for row in rows.values()]
    assert all(isinstance(name, str) and set(row) == {"paper", "set"} for name, row in rows.items())
    assert len({recipe_yaml(recipe) for recipe in recipes}) == len(rows) > 1


@pytest.mark.parametrize("path", ["pretrain", "method.contrast"])
def test_a_setting_deep_inside_leaves_its_neighbors_at_their_own_defaults(path: str) -> None:
    recipe = make_recipe(SMALLEST | {"method": "label_contrast"}, {f"{path}.distortion.hue": 0.2})
    contrast = recipe.pretrain if path == "pretrain" else recipe.method.contrast  # type: ignore[attr-defined]
    assert contrast is not None
    assert contrast.distortion == DISTORTION.model_copy(update={"hue": 0.2})


def test_pretraining_by_name_has_its_defaults_and_by_another_name_is_refused() -> None:
    assert make_recipe(SMALLEST, {"pretrain": "label_contrast"}).pretrain == ContrastConfig()
    assert make_recipe(SMALLEST).pretrain is None
    with pytest.raises(UserError, match="there is only label_contrast"):
        make_recipe(SMALLEST, {"pretrain": "class_bank"})
    with pytest.raises(UserError, match=r"^pretrain: the method dmt trains 2 networks"):
        make_recipe(SMALLEST | {"method": "dmt"}, {"pretrain": "label_contrast"})
    with pytest.raises(UserError, match="pretrain is 'none', which has no setting share"):
        make_recipe(SMALLEST, {"pretrain": "none", "pretrain.share": 0.2})
    assert make_recipe(SMALLEST, {"pretrain": "label_contrast", "pretrain.share": 0.2}).pretrain == ContrastConfig(
        share=0.2
    )
    with pytest.raises(UserError, match=r"there is no setting pretrain\.temprature.*temperature"):
        make_recipe(SMALLEST, {"pretrain.temprature": 1})


def test_a_number_of_labels_is_no_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("12", "names"):
        Path(name).write_text("a\n")
    for labels, expected in (("12", "12"), ("names", str(tmp_path / "names"))):
        recipe = make_recipe({"data": {"root": ".", "labels": labels}, "method": "supervised"})
        assert str(with_absolute_paths(recipe).data.labels) == expected
