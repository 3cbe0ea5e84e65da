"""Public datasets as they are published, and exports of annotation tools: the table that recognizes a folder."""

from pathlib import Path

from fewmask.data.layouts.ade20k import ADE20K
from fewmask.data.layouts.annotation_tools import CVAT, LABELME
from fewmask.data.layouts.camvid import CAMVID, CAMVID_ORIGINAL
from fewmask.data.layouts.cityscapes import CITYSCAPES
from fewmask.data.layouts.gta5 import GTA5
from fewmask.data.layouts.layout import Layout
from fewmask.data.layouts.voc import VOC

__all__ = ["LAYOUTS", "OWN_CLASSES", "Layout", "layout_of"]

LAYOUTS = (CVAT, LABELME, CITYSCAPES, VOC, GTA5, CAMVID, CAMVID_ORIGINAL, ADE20K)

OWN_CLASSES = (CVAT, LABELME, CITYSCAPES, VOC, CAMVID)
"""Layouts that people also use for classes of their own.

The folders of ADE20K are among the usual ones of our own layout, and the others are known by the names of single files.
"""


def layout_of(root: Path) -> Layout | None:
    """The dataset, complete or not, that the folder holds; None for any other folder."""
    return next((layout for layout in LAYOUTS if layout.fits(root)), None)
