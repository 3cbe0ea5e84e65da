"""From images of any size to class probabilities at their size: the arithmetic of a slow twin, to the bit."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as resizing

from fewmask.data.classes import Classes
from fewmask.data.store import Resize
from fewmask.errors import UserError
from fewmask.models.build import build_net
from fewmask.models.segnet import SegNet
from fewmask.use.deployed import Deployed, predicted_labels, probabilities
from toy import NAMES, draw_scene

CLASSES = Classes(names=NAMES)
RESIZES = [None, 0.5, 1.4, (37, 50)]


@pytest.fixture(scope="module")
def net(tiny_net: Any) -> SegNet:
    return build_net(tiny_net, len(NAMES)).eval()


def scenes(count: int, height: int = 48, width: int = 64) -> Tensor:
    """Different at every place of the batch: uint8 [b 3 h w]."""
    generator = np.random.default_rng(0)
    drawn = [torch.from_numpy(draw_scene(generator, height, width)[0]) for _ in range(count)]
    return torch.stack(drawn).permute(0, 3, 1, 2).contiguous()


def twin(net: SegNet, image: Tensor, resize: Resize) -> Tensor:
    """One uint8 image [3 h w] alone: resized on 8-bit levels, and its logits brought back; [k h w]."""
    height, width = image.shape[-2:]
    if isinstance(resize, float):
        resize = max(1, round(height * resize)), max(1, round(width * resize))
    if resize is not None:
        image = resizing.resize(image, list(resize), InterpolationMode.BILINEAR, antialias=True)
    with torch.no_grad():
        logits: Tensor = net(image[None].float() / 255).logits.float()
    if logits.shape[-2:] != (height, width):
        logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return logits[0].softmax(dim=0)


@pytest.mark.parametrize("resize", RESIZES)
def test_probabilities_are_those_of_a_slow_twin_to_the_bit(resize: Resize, net: SegNet) -> None:
    (image,) = scenes(1)
    found = probabilities(Deployed(net, resize, CLASSES), image)
    assert found.dtype == torch.float32
    assert torch.equal(found, twin(net, image, resize))


@pytest.mark.parametrize("resize", RESIZES)
def test_an_8_bit_image_may_come_as_floats(resize: Resize, net: SegNet) -> None:
    images, deployed = scenes(2), Deployed(net, resize, CLASSES)
    with torch.no_grad():
        assert torch.equal(deployed(images.float() / 255), deployed(images))


def test_every_8_bit_level_survives_the_way_through_floats(net: SegNet) -> None:
    levels = torch.arange(256, dtype=torch.uint8).repeat(3, 4, 1)[None]
    deployed = Deployed(net, (8, 512), CLASSES)
    assert torch.equal(deployed._resized(levels.float() / 255), deployed._resized(levels))


def test_floats_between_the_levels_count_where_nothing_is_resized(net: SegNet) -> None:
    images = scenes(1).float() / 255
    between = images + 0.3 / 255
    with torch.no_grad():
        for resize, differs in ((None, True), (0.5, False)):
            deployed = Deployed(net, resize, CLASSES)
            assert torch.equal(deployed(between), deployed(images)) != differs


@pytest.mark.parametrize("resize", RESIZES)
def test_a_batch_is_its_images_alone(resize: Resize, net: SegNet) -> None:
    images, deployed = scenes(3), Deployed(net, resize, CLASSES)
    with torch.no_grad():
        together = deployed(images)
    assert together.shape == (3, len(NAMES), 48, 64)
    for image, found in zip(images, together, strict=True):
        assert torch.allclose(found, twin(net, image, resize), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (97, 61)])
def test_images_of_any_size_get_probabilities_at_their_size(size: tuple[int, int], net: SegNet) -> None:
    found = probabilities(Deployed(net, (32, 40), CLASSES), torch.zeros(3, *size, dtype=torch.uint8))
    assert found.shape == (len(NAMES), *size)
    assert torch.allclose(found.sum(dim=0), torch.ones(size))


def test_an_image_that_shrinks_to_a_single_pixel_is_one_line(net: SegNet) -> None:
    with pytest.raises(UserError, match=r"data\.resize: an image shrinks to a single pixel"):
        probabilities(Deployed(net, 0.001, CLASSES), scenes(1)[0])


def test_labels_are_those_of_the_highest_probability(net: SegNet) -> None:
    images = scenes(3)
    other = copy.deepcopy(net)
    torch.nn.init.normal_(other.network.segmentation_head[0].weight)
    networks = {"one": Deployed(net, 0.5, CLASSES), "other": Deployed(other, None, CLASSES)}
    answers = list(predicted_labels(networks, images))
    for image, labels in zip(images, answers, strict=True):
        for name, deployed in networks.items():
            assert labels[name].dtype == torch.uint8
            agree = labels[name] == probabilities(deployed, image).argmax(dim=0)
            assert agree.float().mean() > 0.999  # ties in float32 may fall otherwise


def test_images_of_mixed_sizes_are_predicted_one_by_one_or_together_alike(net: SegNet) -> None:
    sizes = [(48, 64), (48, 64), (30, 40), (48, 64), (48, 64), (48, 64)]
    images = [scenes(index + 1, *size)[index] for index, size in enumerate(sizes)]
    networks = {"student": Deployed(net, None, CLASSES)}
    together = list(predicted_labels(networks, images, batch=2))
    assert [tuple(labels["student"].shape) for labels in together] == sizes
    for image, labels in zip(images, together, strict=True):
        (alone,) = predicted_labels(networks, [image])
        assert (alone["student"] == labels["student"]).float().mean() > 0.999  # as above


def test_of_large_images_few_are_predicted_together(net: SegNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewmask.use.deployed._LOGITS", 2 * 48 * 64 * len(NAMES))
    sizes: list[int] = []
    counting = net.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    images = [torch.zeros(3, *size, dtype=torch.uint8) for size in [(48, 64)] * 3 + [(96, 128)] * 2]
    assert len(list(predicted_labels({"student": Deployed(net, None, CLASSES)}, images))) == 5
    counting.remove()
    assert sizes == [2, 1, 1, 1]


@pytest.mark.parametrize("training", [True, False])
def test_a_network_predicts_in_evaluation_mode_and_is_left_in_its_own(training: bool, net: SegNet) -> None:
    image = scenes(1)[0]
    expected = probabilities(Deployed(net, 0.5, CLASSES), image)
    other = copy.deepcopy(net).train(training)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    assert torch.equal(probabilities(Deployed(other, 0.5, CLASSES), image), expected)
    assert len(list(predicted_labels({"net": Deployed(other, 0.5, CLASSES)}, [image]))) == 1
    assert {module.training for module in other.modules()} == {training}
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_a_full_memory_says_to_cut_the_images(net: SegNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has 1 GiB free")

    deployed = Deployed(copy.deepcopy(net), None, CLASSES)
    monkeypatch.setattr(deployed.net, "forward", full)
    with pytest.raises(UserError, match=r"the memory of the device is full .* Cut the images into tiles"):
        probabilities(deployed, scenes(1)[0])


@pytest.mark.parametrize("resize", [None, 0.5])
def test_a_deployed_network_can_be_traced_as_one_graph(resize: Resize, net: SegNet) -> None:
    deployed = Deployed(net, resize, CLASSES).eval()
    images = scenes(1).float() / 255
    exported = torch.export.export(deployed, (images,)).module()
    with torch.no_grad():
        assert torch.allclose(exported(images), deployed(images), atol=0.02)  # 8-bit resizing may round otherwise
