"""An exported file gives what the run gives, without fewmask's networks, and without torch where it promises that."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import nn

import fewmask
from fewmask.data.classes import Classes
from fewmask.errors import UserError
from fewmask.models.build import ARCHITECTURES, NetConfig, build_net
from fewmask.use.deployed import Deployed, probabilities
from fewmask.use.export.core import Core, dynamic_shapes, example, with_pools_of_any_size
from fewmask.use.export.export import export_run
from fewmask.use.export.files import write_smp
from fewmask.use.export.onnx import AGREEMENT, write_onnx
from fewmask.use.onnx_network import OnnxNetwork
from fewmask.use.raster.source import WholeSource
from fewmask.use.streaming import Plan, Way, predict_in_tiles
from table import ROOT, read_table
from toy import NAMES, Answer, assert_mistake, command, draw_scene, save, write_recipe

needs_onnx = pytest.mark.skipif(not find_spec("onnxscript"), reason="the extra onnx is not installed")
SCENE = draw_scene(np.random.default_rng(0), 83, 131)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    """A finished run at half size; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(folder / "recipe.yaml", dataset, "supervised", steps=2)
    return fewmask.train(recipe, folder / "run", settings={"data.resize": 0.5})


@pytest.fixture(scope="module")
def exported(run: Path) -> tuple[Path, list[str]]:
    """An ONNX file with its int8 copy, and the lines that the export printed."""
    lines: list[str] = []
    return export_run(run, "onnx", None, True, None, lines.append), lines


def expected(run: Path) -> Any:
    model = fewmask.load(run, "cpu")
    return probabilities(model.networks[model.shipped], torch.from_numpy(SCENE).permute(2, 0, 1)).numpy()


@needs_onnx
@pytest.mark.slow
def test_an_onnx_file_gives_the_same_at_any_size_and_number_of_images(
    run: Path, exported: tuple[Path, list[str]]
) -> None:
    path, lines = exported
    network = OnnxNetwork(path)
    found = network.run("probabilities", np.stack([SCENE, SCENE[::-1]]))
    assert np.abs(found[0] - expected(run)).max() < 2e-3
    assert np.array_equal(network.run("labels", SCENE[None])[0], found[0].argmax(axis=0))
    assert network.classes == fewmask.load(run).classes
    assert lines[0].startswith("6 images: the same class on ")
    assert "int8: mIoU on val " in lines[2]
    labels = OnnxNetwork(path.with_name("model_int8.onnx")).run("labels", SCENE[None])
    assert labels.shape == (1, 83, 131)


@needs_onnx
@pytest.mark.slow
def test_an_onnx_file_of_a_network_that_pads_nothing_gives_the_same(tmp_path: Path) -> None:
    net = build_net(NetConfig(arch="deeplabv2", encoder="resnet18", weights="none"), len(NAMES))
    net.network.set_extra_state(torch.tensor(True))  # the layout of Caffe, which pads and strides otherwise
    deployed = Deployed(net, None, Classes(names=NAMES)).eval()
    write_onnx(deployed, "deeplabv2", tmp_path / "model.onnx")
    for scene in (SCENE, SCENE[:9, :11]):  # larger and smaller than what it was traced with
        found = OnnxNetwork(tmp_path / "model.onnx").run("probabilities", scene[None])[0]
        assert np.abs(found - probabilities(deployed, torch.from_numpy(scene).permute(2, 0, 1)).numpy()).max() < 1e-5


@needs_onnx
@pytest.mark.slow
def test_an_onnx_file_predicts_in_tiles_and_with_views_like_the_run(
    run: Path, exported: tuple[Path, list[str]]
) -> None:
    network, model = OnnxNetwork(exported[0]), fewmask.load(run, "cpu")
    way = Way(tile=32, overlap=16)
    first, second = (
        np.concatenate(
            [maps.confidence for maps in predict_in_tiles(net, WholeSource(SCENE), Plan(net, SCENE.shape[:2], way))]
        )
        for net in (network, model.network)
    )
    assert np.abs(first - second).max() < 1e-3  # resizing may round otherwise
    assert np.abs(network.predict(SCENE, tta=True).confidence - model.predict(SCENE, tta=True).confidence).max() < 5e-3


@needs_onnx
@pytest.mark.slow
def test_a_folder_is_predicted_from_the_file_alone_without_torch(
    exported: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path = tmp_path / "alone.onnx"
    path.write_bytes(exported[0].read_bytes())
    save(SCENE, tmp_path / "in" / "a.png")
    code = (
        "import sys\nfrom fewmask.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules, [name for name in sys.modules if 'torch' in name][:5]\n"
    )
    words = ["predict", str(path), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "masks" / "a.png") as mask:
        assert np.array_equal(np.asarray(mask), OnnxNetwork(path).predict_one(SCENE).labels)


@pytest.mark.parametrize("size", [(3, 4), (6, 6), (7, 13), (10, 31)])
def test_pools_that_are_exported_are_those_of_torch(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, *size)
    for parts in (2, 3, 6):
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(parts), nn.AdaptiveAvgPool2d((parts, 2)))
        found = with_pools_of_any_size(network)
        for before, after in zip(network, found, strict=True):
            assert torch.allclose(after(maps), before(maps), atol=1e-6)
        assert type(found[0]) is nn.AdaptiveAvgPool2d
        assert type(found[1]) is not nn.AdaptiveAvgPool2d


@pytest.mark.slow
def test_layers_with_same_padding_are_traced_with_constants() -> None:
    options = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    net = build_net(NetConfig(arch="unet", encoder="tf_efficientnet_lite0", weights="none", options=options), 3).eval()
    core, images = Core(net).eval(), torch.rand(2, 3, 5 * net.stride, 7 * net.stride)
    with torch.no_grad():
        assert torch.equal(core(images), net.network(images))
    traced = torch.export.export(core, (example(net),), dynamic_shapes=dynamic_shapes(net))
    pads = [node for node in traced.graph.nodes if "aten.pad" in str(node.target)]
    assert len(pads) > 2
    assert all(isinstance(side, int) for node in pads for side in node.args[1])
    with torch.no_grad():
        assert torch.allclose(traced.module()(images), core(images), atol=1e-5)


def test_every_architecture_was_exported_and_its_file_gives_the_same() -> None:
    rows = {row["architecture"]: row for row in read_table(ROOT / "benchmarks" / "export.csv")}
    assert rows.keys() == ARCHITECTURES.keys(), "run: python benchmarks/export.py"
    assert all(row["reason"] == "" and float(row["agreement"]) >= AGREEMENT for row in rows.values())


@needs_onnx
def test_a_file_that_is_no_export_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx import parser

    def predict() -> Answer:
        return command(capsys, "predict", tmp_path / "a.onnx", tmp_path, "--out", tmp_path / "out")

    assert_mistake(predict(), "a.onnx: there is no such file", "fewmask export RUN")
    (tmp_path / "a.onnx").write_bytes(b"no model")
    assert_mistake(predict(), "a.onnx: onnxruntime cannot load it")
    foreign = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> m (float[n] x) => (float[n] y) { y = Identity (x) }'
    )
    (tmp_path / "a.onnx").write_bytes(foreign.SerializeToString())
    assert_mistake(predict(), "a.onnx: this ONNX file is no export of fewmask")


@pytest.mark.slow
def test_a_torch_program_gives_the_same_on_resized_images(run: Path, tmp_path: Path) -> None:
    path = export_run(run, "torch", tmp_path / "model.pt2", False, None, lambda line: None)
    files = {"fewmask.json": ""}
    program = torch.export.load(path, extra_files=files).module()
    facts = json.loads(files["fewmask.json"])
    assert (facts["resize"], facts["classes"]["names"]) == (0.5, list(NAMES))
    images = torch.rand(3, 3, 5 * facts["stride"], 7 * facts["stride"])
    model = fewmask.load(run, "cpu")
    same_size = Deployed(model.networks[model.shipped].net, None, model.classes).eval()
    with torch.no_grad():
        assert torch.allclose(program(images), same_size(images), atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "encoder", "options"),
    [("unet", "test_resnet", {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}), ("dpt", "test_vit", {})],
)
def test_smp_loads_the_network_without_fewmask(arch: str, encoder: str, options: Any, tmp_path: Path) -> None:
    config = NetConfig(arch=arch, encoder=encoder, weights="none", options=options)
    net = build_net(config, 3).eval()
    classes = Classes(names=NAMES[:3])
    write_smp(Deployed(net, None, classes), config, tmp_path)
    facts = json.loads((tmp_path / "fewmask.json").read_text())
    network = smp.from_pretrained(tmp_path).eval()
    images = torch.rand(1, 3, 4 * facts["stride"], 6 * facts["stride"])
    mean, std = (torch.tensor(facts[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        assert torch.allclose(network((images - mean) / std), net(images).logits, atol=1e-4)


def test_what_cannot_be_exported_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_mistake(command(capsys, "export", run, "--format", "onx"), "there is no format 'onx'", "(nearest: onnx)")
    assert_mistake(command(capsys, "export", run, "--format", "smp", "--int8"), "int8 is for --format onnx")
    config = NetConfig(arch="deeplabv2", encoder="resnet18", weights="none")
    with pytest.raises(UserError, match="deeplabv2 is no architecture of segmentation_models_pytorch"):
        write_smp(Deployed(build_net(config, 3), None, Classes(names=NAMES[:3])), config, tmp_path)


def test_safetensors_hold_the_weights_and_the_description(run: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    path = export_run(run, "safetensors", tmp_path / "model.safetensors", False, None, lambda line: None)
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["fewmask_model"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    net = build_net(NetConfig(**facts["net"]), len(facts["classes"]["names"]))
    net.load_state_dict(weights)
    model = fewmask.load(run, "cpu")
    images = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(net.eval()(images).logits, model.networks[model.shipped].net(images).logits)
