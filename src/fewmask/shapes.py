"""The names of the tensors that pass between modules; shapes are checked in tests and cost nothing in production.

Letters: b batch, k classes, d embedding, h w pixels, hs ws strided pixels, n m flat rows.
"""

from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from fewmask.ignore import IGNORE

Images = Float[Tensor, "b 3 h w"]  # RGB in [0, 1]
ByteImage = UInt8[Tensor, "3 h w"]
Labels = Int64[Tensor, "b h w"]  # 0..k-1 or IGNORE
ByteLabel = UInt8[Tensor, "h w"]
Valid = Bool[Tensor, "b h w"]  # False where there is no image (padding)
Logits = Float[Tensor, "b k h w"]
Confidence = Float[Tensor, "b h w"]  # in [0, 1]
Features = Float[Tensor, "b d hs ws"]
Rows = Float[Tensor, "n d"]
RowClasses = Int64[Tensor, " n"]  # 0..k-1 or IGNORE
RowScores = Float[Tensor, " n"]
PerClass = Float[Tensor, " k"]
Confusion = Int64[Tensor, "k k"]  # rows: truth, columns: prediction
Scalar = Float[Tensor, ""]

__all__ = [
    "IGNORE",
    "Bool",
    "ByteImage",
    "ByteLabel",
    "Confidence",
    "Confusion",
    "Features",
    "Float",
    "Float32",
    "Images",
    "Int64",
    "Labels",
    "Logits",
    "PerClass",
    "RowClasses",
    "RowScores",
    "Rows",
    "Scalar",
    "UInt8",
    "Valid",
]
