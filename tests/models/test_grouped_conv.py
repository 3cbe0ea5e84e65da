"""The convolutions that stand in for nn.Conv2d on a CPU give what it gives, and what it should give."""

import pytest
import torch
from torch import Tensor, nn

from fewmask.models.build import NetConfig, build_net
from fewmask.models.grouped_conv import GroupedConv2d, use_grouped_convs
from rounding import error_share, tolerance


def pair(**settings: object) -> tuple[nn.Conv2d, nn.Conv2d]:
    """A layer of PyTorch and the same one replaced, with equal weights, in float64."""
    torch.manual_seed(0)
    plain = nn.Conv2d(**settings).double()  # type: ignore[arg-type]
    ours = nn.Sequential(nn.Conv2d(**settings).double())  # type: ignore[arg-type]
    ours[0].load_state_dict(plain.state_dict())
    use_grouped_convs(ours)
    return plain, ours[0]  # type: ignore[return-value]


def gradients(layer: nn.Conv2d, maps: Tensor) -> tuple[Tensor, ...]:
    """The output, then the gradients of input, weight and bias under some loss."""
    maps = maps.detach().requires_grad_()
    output = layer(maps)
    slope = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    leaves = [maps, *layer.parameters()]
    return (output, *torch.autograd.grad(output, leaves, slope))


@pytest.mark.parametrize("size", [(7, 9), (12, 8), (4, 31)])
@pytest.mark.parametrize(
    ("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (1, 5), (1, 8), (1, 40), (2, 2)]
)
@pytest.mark.parametrize("kernel", [3, 5, (3, 1)])
@pytest.mark.parametrize(("channels", "groups", "bias"), [((6, 6), 6, True), ((6, 12), 6, False), ((8, 4), 2, True)])
def test_values_and_gradients_are_those_of_pytorch(
    size: tuple[int, int],
    stride: int,
    dilation: int,
    kernel: int | tuple[int, int],
    channels: tuple[int, int],
    groups: int,
    bias: bool,
) -> None:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    plain, ours = pair(
        in_channels=channels[0],
        out_channels=channels[1],
        kernel_size=kernel,
        stride=stride,
        dilation=dilation,
        padding=(dilation * (height // 2), dilation * (width // 2)),
        groups=groups,
        bias=bias,
    )
    assert type(ours) is (nn.Conv2d if (stride, dilation) == (1, 1) and height == 3 else GroupedConv2d)
    maps = torch.randn(2, channels[0], *size, dtype=torch.float64)
    for expected, got in zip(gradients(plain, maps), gradients(ours, maps), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(ours(maps), plain(maps), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(22, 30), (33, 33), (40, 64)])
@pytest.mark.parametrize(
    "settings",
    [{"dilation": 2, "padding": 2}, {"dilation": 12, "padding": 12}, {"stride": 2}, {"kernel_size": 5, "padding": 2}],
)
def test_bfloat16_gradients_of_wide_maps_are_right(size: tuple[int, int], settings: dict[str, int]) -> None:
    settings = {"in_channels": 64, "out_channels": 64, "kernel_size": 3, "padding": 1, "groups": 64} | settings
    plain, ours = (layer.float().to(memory_format=torch.channels_last) for layer in pair(**settings))
    maps = torch.randn(2, 64, *size).bfloat16().float().contiguous(memory_format=torch.channels_last)
    expected = gradients(plain, maps)
    with torch.autocast("cpu", torch.bfloat16):
        got = gradients(ours, maps)
    assert got[0].dtype == torch.bfloat16
    for found, exact in zip(got[:2], expected[:2], strict=True):  # output and input: sums over the taps of the kernel
        assert error_share(found, exact, part=1) < tolerance(plain.weight[0, 0].numel())
    num_maps = len(maps) * plain.dilation[0] * plain.dilation[1]  # a dilated map is computed as several small ones
    for found, exact in zip(
        got[2:], expected[2:], strict=True
    ):  # weight and bias; memory left unwritten is an error > 1
        assert error_share(found, exact, part=0) < tolerance(num_maps)


def test_only_layers_that_it_equals_are_replaced() -> None:
    layers = {
        "dilated": nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
        "strided": nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8),
        "large": nn.Conv2d(8, 8, 5, padding=2, groups=8),
        "plain": nn.Conv2d(8, 8, 3, padding=1, groups=8),
        "dense": nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        "shrinking": nn.Conv2d(8, 8, 3, padding=1, dilation=2, groups=8),
        "even": nn.Conv2d(8, 8, 4, padding=2, stride=2, groups=8),
        "reflecting": nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, padding_mode="reflect"),
        "same": nn.Conv2d(8, 8, 3, padding="same", dilation=2, groups=8),
    }
    network = nn.ModuleDict(layers)
    before = {name: value.data_ptr() for name, value in network.state_dict().items()}
    use_grouped_convs(network)
    assert {name for name, layer in network.items() if type(layer) is GroupedConv2d} == {"dilated", "strided", "large"}
    assert {name: value.data_ptr() for name, value in network.state_dict().items()} == before


def test_networks_are_built_with_them() -> None:
    net = build_net(NetConfig(encoder="mobilenetv2_100", weights="none"), 3)
    slow = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    slow = [layer for layer in slow if max(*layer.stride, *layer.dilation) > 1]
    assert len(slow) == 9
    assert all(type(layer) is GroupedConv2d for layer in slow)


@pytest.mark.parametrize("dilation", [12, 40])
def test_a_teacher_under_autocast_gets_bfloat16(dilation: int) -> None:
    settings = {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "padding": dilation, "dilation": dilation}
    plain, ours = (layer.float() for layer in pair(**settings, groups=8))
    maps = torch.randn(2, 8, 11, 15)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, expected = ours(maps), plain(maps)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert error_share(found, expected.float(), part=1) < tolerance(9)


def test_an_exported_layer_keeps_the_taps_that_its_example_was_too_small_for() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=6, dilation=6, groups=4)
    use_grouped_convs(nn.Sequential(layer))
    sides = {2: torch.export.Dim("rows", min=2), 3: torch.export.Dim("columns", min=2)}
    exported = torch.export.export(layer, (torch.rand(1, 4, 3, 5),), dynamic_shapes=(sides,)).module()
    for size in ((3, 5), (17, 14)):
        maps = torch.rand(1, 4, *size)
        torch.testing.assert_close(exported(maps), layer(maps))
