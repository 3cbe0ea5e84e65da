"""Cluster centers of the bank's rows per class, which the paper of the class-wise bank names as future work.

Alonso et al., ICCV 2021. A training step does one Lloyd step of spherical k-means, as the bank changes little in it.
"""

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F


class ClassClusters(nn.Module):
    """Follows the rows of each class with a fixed number of centers, which are on the device and checkpointed.

    Attributes:
        centers: [classes clusters dim] float32 unit vectors; 0 where a class has had fewer rows than clusters.
    """

    centers: Tensor

    def __init__(self, num_classes: int, num_clusters: int, dim: int = 256) -> None:
        super().__init__()
        self.register_buffer("centers", torch.zeros(num_classes, num_clusters, dim))

    @torch.no_grad()
    def assign(self, rows: Float[Tensor, "k m d"], in_use: Bool[Tensor, "k m"]) -> Int64[Tensor, "k m"]:
        """Moves the centers by one step and returns the cluster 0..clusters-1 of every row; any if it is not in use.

        A cluster without rows moves to one of the rows that fit their center worst. So clusters stay in use and need no
        initialization: the first center starts as the mean, the others start as rows.
        """
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float()
            length = torch.linalg.vector_norm(rows, dim=2, keepdim=True).clamp(min=1e-12)  # no copy of the bank
            nearest, fit = self._nearest(rows, length)
            cluster = torch.arange(self.centers.shape[1], device=rows.device)
            member = (nearest[:, :, None] == cluster) & in_use[:, :, None]
            sums = einsum(member / length, rows, "k m c, k m d -> k c d")
            is_lost = ~member.any(dim=1)
            self.centers.copy_(torch.where(is_lost[:, :, None], self._worst_rows(rows, fit, in_use, is_lost), sums))
            self.centers.copy_(F.normalize(self.centers, dim=2))
            return self._nearest(rows, length)[0]

    def _nearest(
        self, rows: Float[Tensor, "k m d"], length: Float[Tensor, "k m 1"]
    ) -> tuple[Int64[Tensor, "k m"], Float[Tensor, "k m"]]:
        """The nearest center of every row and the cosine to it; a center of 0 is never the nearest."""
        cosine = einsum(rows, self.centers, "k m d, k c d -> k m c") / length
        unborn = rearrange((self.centers == 0).all(dim=2), "k c -> k 1 c")
        fit, nearest = cosine.masked_fill(unborn, -2.0).max(dim=2)
        return nearest, fit

    def _worst_rows(
        self,
        rows: Float[Tensor, "k m d"],
        fit: Float[Tensor, "k m"],
        in_use: Bool[Tensor, "k m"],
        is_lost: Bool[Tensor, "k c"],
    ) -> Float[Tensor, "k c d"]:
        """A row for each lost cluster, from the worst-fitting row on; 0 where a class has too few rows."""
        order = fit.masked_fill(~in_use, 3.0).argsort(dim=1, stable=True)
        place = (is_lost.long().cumsum(dim=1) - 1).clamp(min=0, max=order.shape[1] - 1)
        row = order.gather(1, place)
        found = rows.gather(1, rearrange(row, "k c -> k c 1").expand(-1, -1, rows.shape[2]))
        exists = in_use.gather(1, row) & (is_lost.long().cumsum(dim=1) <= in_use.sum(dim=1, keepdim=True))
        return torch.where(exists[:, :, None], found, 0.0)
