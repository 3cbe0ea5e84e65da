"""Past states of a network, which go on predicting: the previous models of PrevMatch.

Shin, Park, Kim and Kim, Revisiting and Maximizing Temporal Knowledge in Semi-supervised Semantic Segmentation
(PrevMatch), 2024, https://arxiv.org/abs/2405.20610.
"""

from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fewmask.models.grid import round_up
from fewmask.models.modes import in_eval_mode
from fewmask.models.segnet import SegNet
from fewmask.shapes import Float32, Images, Int64, Logits

_ALIGNMENT = 4  # floats; kernels like weights that begin at a multiple of 16 bytes


class PastNetworks(nn.Module):
    """Slots for the parameters and statistics of one network, as one buffer that changes in place.

    Attributes:
        rows: [slots n] float32; a row holds every float tensor of the network's state, one after the other.
    """

    rows: Tensor

    def __init__(self, net: SegNet, slots: int) -> None:
        super().__init__()
        self._shapes = {name: tensor.shape for name, tensor in _floats(net).items()}
        lengths = [round_up(shape.numel(), _ALIGNMENT) for shape in self._shapes.values()]
        self._places = list(pairwise(accumulate(lengths, initial=0)))
        self.register_buffer("rows", torch.zeros(slots, sum(lengths)))

    @torch.no_grad()
    def keep(self, net: SegNet, slot: Int64[Tensor, ""]) -> None:
        """Writes the state of the network into a slot."""
        parts = []
        for tensor, (begin, end) in zip(_floats(net).values(), self._places, strict=True):
            parts += [tensor.detach().to(self.rows).reshape(-1), self.rows.new_zeros(end - begin - tensor.numel())]
        self.rows.index_copy_(0, slot[None], torch.cat(parts)[None])

    @torch.no_grad()
    def logits(self, net: SegNet, slot: Int64[Tensor, ""], images: Images) -> Logits:
        """What the network in a slot says of the images, in eval mode; `net` itself stays as it is."""
        row = self.rows.index_select(0, slot[None])[0]
        state = {
            name: row[begin : begin + shape.numel()].view(shape)
            for (name, shape), (begin, _) in zip(self._shapes.items(), self._places, strict=True)
        }
        with in_eval_mode(net):
            logits: Tensor = functional_call(net, state, (images,)).logits
        return logits


def _floats(net: SegNet) -> dict[str, Tensor]:
    """Parameters and buffers that are floats; the others count batches, which no network in eval mode reads."""
    named = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    return {name: tensor for name, tensor in named.items() if tensor.is_floating_point()}


def random_mixture(available: Tensor, most: int) -> tuple[Int64[Tensor, " n"], Float32[Tensor, " n"]]:
    """Draws k of the available slots, k uniform in 1..most, and Dirichlet(1, ..., 1) weights for them.

    Args:
        available: [slots] bool.
        most: n, the most slots that are drawn; 1..slots.

    Returns:
        n slots and their weights, which sum to 1. The weight of a slot that was not drawn is 0. If fewer than k slots
        are available, all of them are drawn; if none is, all weights are 0.
    """
    device = available.device
    order = torch.rand(len(available), device=device).masked_fill(~available, -1.0).topk(most).indices
    drawn = torch.arange(most, device=device) < torch.randint(1, most + 1, (1,), device=device)
    counts = drawn & (torch.arange(most, device=device) < available.sum())
    shares = -torch.rand(most, device=device).clamp(min=1e-12).log() * counts  # exponentials, normalized: Dirichlet
    return order, shares / shares.sum().clamp(min=1e-12)
