"""The networks of the released code: their tensors under its names, and their forward passes written out."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

SMALL = {"layers": (2, 2, 2, 1), "channels": (8, 12, 16, 24)}
DIM = 8  # of the small heads


class Names(dict[str, Tensor]):
    """A state dict that is written name by name."""

    def convolution(self, name: str, in_channels: int, out_channels: int, size: int = 1, bias: bool = False) -> None:
        self[f"{name}.weight"] = torch.randn(out_channels, in_channels, size, size) / (in_channels * size**2) ** 0.5
        if bias:
            self[f"{name}.bias"] = torch.randn(out_channels)

    def linear(self, name: str, in_dim: int, out_dim: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = torch.randn(out_dim, in_dim), torch.randn(out_dim)

    def norm(self, name: str, dim: int, counter: bool = False) -> None:
        for part in ("weight", "running_var"):
            self[f"{name}.{part}"] = 0.5 + torch.rand(dim)
        for part in ("bias", "running_mean"):
            self[f"{name}.{part}"] = torch.randn(dim)
        if counter:
            self[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def resnet(self, layers: Sequence[int], channels: Sequence[int]) -> None:
        self.convolution("conv1", 3, 64, 7)
        self.norm("bn1", 64)
        inside = 64
        for stage, (depth, width) in enumerate(zip(layers, channels, strict=True), 1):
            for index in range(depth):
                block = f"layer{stage}.{index}"
                shapes = [(inside, width, 1), (width, width, 3), (width, 4 * width, 1)]
                for number, shape in enumerate(shapes, 1):
                    self.convolution(f"{block}.conv{number}", *shape)
                    self.norm(f"{block}.bn{number}", shape[1])
                if index == 0:
                    self.convolution(f"{block}.downsample.0", inside, 4 * width)
                    self.norm(f"{block}.downsample.1", 4 * width)
                inside = 4 * width

    def heads(self, in_dim: int, num_classes: int, dim: int = DIM) -> None:
        selectors = ("contrastive_class_selector_", "contrastive_class_selector_memory")
        modules = [("projection_head", in_dim, dim), ("prediction_head", dim, dim)]
        modules += [(f"{prefix}{label}", dim, 1) for prefix in selectors for label in range(num_classes)]
        for module, before, after in modules:
            self.linear(f"{module}.0", before, dim)
            self.norm(f"{module}.1", dim, counter=True)
            self.linear(f"{module}.3", dim, after)


def deeplabv2(
    layers: Sequence[int] = SMALL["layers"],
    channels: Sequence[int] = SMALL["channels"],
    num_classes: int = 21,
) -> Names:
    names = Names()
    names.resnet(layers, channels)
    for branch in range(4):
        names.convolution(f"layer5.conv2d_list.{branch}", 4 * channels[-1], num_classes, 3, bias=True)
    return names


def deeplabv3plus(
    layers: Sequence[int] = SMALL["layers"],
    channels: Sequence[int] = SMALL["channels"],
    num_classes: int = 21,
) -> Names:
    names = Names()
    names.resnet(layers, channels)
    for branch in range(4):
        names.convolution(f"aspp.aspp{branch + 1}.atrous_conv", 4 * channels[-1], 256, 3 if branch else 1)
        names.norm(f"aspp.aspp{branch + 1}.bn", 256)
    names.convolution("aspp.global_avg_pool.1", 4 * channels[-1], 256)
    names.norm("aspp.global_avg_pool.2", 256)
    names.convolution("aspp.conv1", 1280, 256)
    names.norm("aspp.bn1", 256)
    names.convolution("decoder.conv1", 4 * channels[0], 48)
    names.norm("decoder.bn1", 48)
    for index, in_channels in ((0, 304), (3, 256)):
        names.convolution(f"decoder.pre_last_conv.{index}", in_channels, 256, 3)
        names.norm(f"decoder.pre_last_conv.{index + 1}", 256)
    names.convolution("decoder.last_conv", 256, num_classes, bias=True)
    return names


class Original:
    """The released networks in eval mode, with torch.nn.functional alone."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def convolve(self, name: str, maps: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        return F.conv2d(maps, weight, bias, stride, dilation * (weight.shape[-1] // 2), dilation)

    def normalize(self, name: str, maps: Tensor) -> Tensor:
        mean, var, weight, bias = (
            self.tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(maps, mean, var, weight, bias)

    def block(self, convolution: str, norm: str, maps: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
        return F.relu(self.normalize(norm, self.convolve(convolution, maps, stride, dilation)))

    def stages(self, images: Tensor, strides: Sequence[int], dilations: Sequence[int], caffe: bool) -> list[Tensor]:
        """The outputs of layer1 to layer4."""
        maps = F.max_pool2d(self.block("conv1", "bn1", images, 2), 3, 2, 1, ceil_mode=caffe)
        outputs = []
        for stage, (stride, dilation) in enumerate(zip(strides, dilations, strict=True), 1):
            index = 0
            while f"layer{stage}.{index}.conv1.weight" in self.tensors:
                block, stride = f"layer{stage}.{index}", 1 if index else stride
                inside = self.block(f"{block}.conv1", f"{block}.bn1", maps, stride if caffe else 1)
                inside = self.block(f"{block}.conv2", f"{block}.bn2", inside, 1 if caffe else stride, dilation)
                inside = self.normalize(f"{block}.bn3", self.convolve(f"{block}.conv3", inside))
                if index == 0:
                    maps = self.normalize(f"{block}.downsample.1", self.convolve(f"{block}.downsample.0", maps, stride))
                maps = F.relu(inside + maps)
                index += 1
            outputs.append(maps)
        return outputs

    def deeplabv2(self, images: Tensor, caffe: bool, num_branches: int = 4) -> tuple[Tensor, Tensor]:
        features = self.stages(images, (1, 2, 1, 1), (1, 1, 2, 4), caffe)[-1]
        rates = (6, 12, 18, 24)[:num_branches]
        logits = [self.convolve(f"layer5.conv2d_list.{i}", features, dilation=rate) for i, rate in enumerate(rates)]
        return torch.stack(logits).sum(dim=0), features

    def deeplabv3plus(self, images: Tensor) -> tuple[Tensor, Tensor]:
        low, *_, high = self.stages(images, (1, 2, 2, 1), (1, 1, 1, 2), caffe=False)
        context = [
            self.block(f"aspp.aspp{i}.atrous_conv", f"aspp.aspp{i}.bn", high, dilation=rate)
            for i, rate in enumerate((1, 6, 12, 18), 1)
        ]
        pooled = self.block("aspp.global_avg_pool.1", "aspp.global_avg_pool.2", high.mean((2, 3), keepdim=True))
        context.append(pooled.expand_as(context[0]))
        joined = self.block("aspp.conv1", "aspp.bn1", torch.cat(context, dim=1))
        low = self.block("decoder.conv1", "decoder.bn1", low)
        features = torch.cat([enlarged(joined, low.shape[-2:]), low], dim=1)
        for i in (0, 3):
            features = self.block(f"decoder.pre_last_conv.{i}", f"decoder.pre_last_conv.{i + 1}", features)
        return self.convolve("decoder.last_conv", features), features


def enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, list(size), mode="bilinear", align_corners=True)
