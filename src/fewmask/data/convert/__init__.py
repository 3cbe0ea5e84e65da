"""Makes a data set with one mask an image of labels in other forms: many masks an image, polygons of COCO or YOLO."""

from fewmask.data.convert.convert import Converted, convert

__all__ = ["Converted", "convert"]
