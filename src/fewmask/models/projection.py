"""Projection heads of pixel contrasts: 1x1 or 3x3 convolutions over a feature map.

MapProjector: Zhao et al., Contrastive Learning for Label Efficient Semantic Segmentation, ICCV 2021.
ConvProjector: Liu et al., ReCo, ICLR 2022, and Wang et al., U2PL, CVPR 2022.
"""

from torch import Tensor, nn

from fewmask.shapes import Features, Float


class MapProjector(nn.Sequential):
    """`layers` 1x1 convolutions with ReLU between them; the paper has three.

    `batchnorm` puts a BatchNorm before every ReLU; the head of the authors' released losses has two layers with it.
    Between the convolutions there are `hidden_dim` channels, or `dim` if it is None.
    """

    def __init__(
        self, in_dim: int, dim: int = 256, layers: int = 3, batchnorm: bool = False, hidden_dim: int | None = None
    ) -> None:
        hidden_dim = hidden_dim or dim
        modules: list[nn.Module] = []
        for layer in range(layers - 1):
            modules.append(nn.Conv2d(hidden_dim if layer else in_dim, hidden_dim, 1))
            modules += [nn.BatchNorm2d(hidden_dim)] * batchnorm + [nn.ReLU(inplace=True)]
        super().__init__(*modules, nn.Conv2d(hidden_dim if layers > 1 else in_dim, dim, 1))

    def forward(self, features: Features) -> Float[Tensor, "b dim hs ws"]:
        """Maps features [b in_dim hs ws] to vectors [b dim hs ws] of any length."""
        return super().forward(features)  # type: ignore[no-any-return, no-untyped-call]


class ConvProjector(nn.Sequential):
    """`layers` times a 3x3 convolution, BatchNorm, ReLU and dropout of channels, then a 1x1 convolution."""

    def __init__(self, in_dim: int, dim: int = 256, layers: int = 1, dropout: float = 0.0) -> None:
        modules: list[nn.Module] = []
        for layer in range(layers):
            modules += [nn.Conv2d(dim if layer else in_dim, dim, 3, padding=1), nn.BatchNorm2d(dim)]
            modules += [nn.ReLU(inplace=True), nn.Dropout2d(dropout)]
        super().__init__(*modules, nn.Conv2d(dim, dim, 1))

    def forward(self, features: Features) -> Float[Tensor, "b dim hs ws"]:
        """Maps features [b in_dim hs ws] to vectors [b dim hs ws] of any length."""
        return super().forward(features)  # type: ignore[no-any-return, no-untyped-call]
