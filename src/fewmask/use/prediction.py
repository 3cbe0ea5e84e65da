"""What a model says about one image: labels and confidence, and how they look; needs no torch."""

import io
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.use.encoding import encoded, mask_look, overlay

_SHOWN = 1024
"""The longest side of the picture that a notebook shows."""
_SMALLEST_SHARE = 0.0005


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for one image. A notebook shows its overlay and a legend.

    Attributes:
        labels: the class of each pixel as its position in `classes`, uint8 [h w].
        confidence: the probability of that class, float32 [h w] in [0, 1].
        classes: names and colors of the classes, and how masks write them.
        pixels: the image, uint8 RGB [h w 3].
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    classes: Classes = field(repr=False)
    pixels: NDArray[np.uint8] = field(repr=False)

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The image with the colors of the classes over it; opacity is in [0, 1], and 1 shows the colors alone."""
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity is {opacity}, and should be in [0, 1]")
        return Image.fromarray(overlay(self.pixels, self.labels, self.classes, opacity))

    def mask(self) -> Image.Image:
        """The labels as a mask in the encoding of the data set; saved as PNG and corrected, it can be a label."""
        picture = Image.fromarray(encoded(self.labels, self.classes))
        palette = mask_look(self.classes).palette
        if palette is not None:
            picture = picture.convert("P")
            picture.putpalette(palette.tobytes())
        return picture

    def shares(self) -> dict[str, float]:
        """The share of the pixels that each class has."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes)) / self.labels.size
        return {name: float(share) for name, share in zip(self.classes.names, counts, strict=True)}

    def _repr_png_(self) -> bytes:
        picture = self.overlay()
        picture.thumbnail((_SHOWN, _SHOWN))
        content = io.BytesIO()
        picture.save(content, format="PNG")
        return content.getvalue()

    def _repr_html_(self) -> str:
        from base64 import b64encode

        entries = [
            f'<span style="white-space:nowrap;margin-right:1em"><span style="display:inline-block;width:1em;height:1em;'
            f'vertical-align:-0.15em;background:rgb{color}"></span> {escape(name)} {100 * share:.1f} %</span>'
            for (name, share), color in zip(self.shares().items(), self.classes.colors, strict=True)
            if share >= _SMALLEST_SHARE
        ]
        sure = f"mean confidence {100 * float(self.confidence.mean()):.0f} %"
        picture = b64encode(self._repr_png_()).decode()
        return (
            f'<figure style="margin:0"><img alt="overlay of the predicted classes" style="max-width:100%" '
            f'src="data:image/png;base64,{picture}"><figcaption>{"".join(entries)}{sure}</figcaption></figure>'
        )
