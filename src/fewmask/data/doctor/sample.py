"""Reads one image and its mask and keeps a few facts of them: a pure function that any process can run."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from fewmask.data.classes import Classes
from fewmask.data.doctor.fit import fit_of
from fewmask.data.doctor.mask_facts import MaskFacts, mask_facts
from fewmask.data.doctor.picture_facts import PictureFacts, picture_facts
from fewmask.data.images import load, num_pictures
from fewmask.data.masks import UNKNOWN, lookup_table, open_mask, reading_of, why_no_codes
from fewmask.data.pixels import as_rgb
from fewmask.data.sample import Sample
from fewmask.errors import UserError

UPRIGHT = 1  # EXIF orientation
_BACK = {  # from an upright picture back to the one in the file, by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class Facts(NamedTuple):
    """What the doctor keeps of a sample.

    Attributes:
        picture, mask: the facts of the files; None if there is none or it cannot be read.
        picture_mistake, mask_mistake: what was found and what to do if a file cannot be read.
        mask_says: why the mask cannot be read by the classes; empty if it can.
        fit: how well the mask fits the upright image, see `fit_of`.
        fit_in_file: the same for the image as it lies in the file, if EXIF turns it and the sizes agree.
    """

    picture: PictureFacts | None = None
    mask: MaskFacts | None = None
    picture_mistake: tuple[str, str] | None = None
    mask_mistake: tuple[str, str] | None = None
    mask_says: str = ""
    fit: float | None = None
    fit_in_file: float | None = None


def examine_sample(sample: Sample, classes: Classes) -> Facts:
    """Decodes the image and the mask of a sample; what cannot be read becomes a mistake."""
    facts, image, orientation = Facts(), None, UPRIGHT
    try:
        loaded = load(sample.image)
        image, orientation = as_rgb(loaded.picture, sample.image), loaded.orientation
        facts = facts._replace(picture=picture_facts(image, num_pictures(sample.image)))
    except UserError as mistake:
        facts = facts._replace(picture_mistake=(mistake.what, mistake.fix))
    if sample.mask is None:
        return facts
    try:
        mask = open_mask(sample.mask)
    except UserError as mistake:
        return facts._replace(mask_mistake=(mistake.what, mistake.fix))
    facts = facts._replace(mask=mask_facts(mask))
    codes = None if len(mask.pages) > 1 and classes.pages is None else mask.codes(reading_of(classes, len(mask.pages)))
    if codes is None:
        return facts._replace(mask_says=why_no_codes(mask, classes))
    if image is None:
        return facts
    labels = lookup_table(classes, len(mask.pages))[codes]
    if (labels == UNKNOWN).any():
        return facts
    if labels.shape == image.shape[:2]:
        facts = facts._replace(fit=fit_of(image, labels))
    if orientation in _BACK:
        in_file = np.asarray(Image.fromarray(image).transpose(_BACK[orientation]))
        if labels.shape == in_file.shape[:2]:
            facts = facts._replace(fit_in_file=fit_of(in_file, labels))
    return facts
