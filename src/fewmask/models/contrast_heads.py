"""The trainable side of the class-wise contrast: heads g and q, and the two sets of class selectors."""

from torch import nn

from fewmask.models.heads import ClassSelectors, PixelHead


class ContrastHeads(nn.Module):
    """Projection head g, prediction head q, and attention for prediction vectors and for bank vectors (section 4.2).

    Alonso et al., Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
    Memory Bank, ICCV 2021.
    """

    def __init__(self, num_classes: int, feature_dim: int, dim: int = 256) -> None:
        super().__init__()
        self.projector = PixelHead(feature_dim, dim)
        self.predictor = PixelHead(dim, dim)
        self.prediction_selectors = ClassSelectors(num_classes, dim)
        self.bank_selectors = ClassSelectors(num_classes, dim)
