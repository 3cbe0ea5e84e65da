"""The projection head of the label-based pixel contrast: 1x1 convolutions over a feature map.

Zhao et al., Contrastive Learning for Label Efficient Semantic Segmentation, ICCV 2021.
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
