"""Pictures of any size, read and written row by row: PNG, TIFF, GeoTIFF, whole slides, and all that Pillow decodes."""

from fewmask.use.raster.sink import Sink, opened_sink
from fewmask.use.raster.source import Source, opened_source

__all__ = ["Sink", "Source", "opened_sink", "opened_source"]
