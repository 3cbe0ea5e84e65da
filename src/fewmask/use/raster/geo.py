"""Reads and writes pictures through GDAL (rasterio), which keeps their place on the earth."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewmask.data.opening import regular_file
from fewmask.data.pixels import to_8_bits
from fewmask.errors import UserError

_CACHE_MIB = 64


class Place(NamedTuple):
    """Where a picture lies on the earth: its coordinate reference system and transform, or ground control points."""

    crs: Any
    transform: Any
    points: Any


class GeoSource:
    """A picture that GDAL reads."""

    def __init__(self, dataset: Any, path: Path) -> None:
        self.height, self.width, self._dataset, self._path = dataset.height, dataset.width, dataset, path
        points = dataset.gcps
        self.place = Place(dataset.crs or points[1], dataset.transform, points[0])
        self._bands = _color_bands(dataset)
        self._palette = _palette(dataset)
        if any(dataset.dtypes[band - 1] not in ("uint8", "uint16") for band in self._bands):
            what = f"the picture has {dataset.dtypes[0]} levels"
            raise UserError(what, path, "Save it with 8 or 16 bits per channel.")

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """The rows from `top` to `bottom` as RGB."""
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        try:
            read = self._dataset.read(self._bands, window=Window(0, top, self.width, bottom - top))
        except RasterioError as error:
            raise UserError(f"the file cannot be read: {error}", self._path, "Copy it again, or remove it.") from None
        if self._palette is not None:
            colors: NDArray[np.uint8] = self._palette[read[0]]
            return colors
        levels = read if read.dtype == np.uint8 else to_8_bits(read)
        return np.ascontiguousarray(np.moveaxis(np.broadcast_to(levels, (3, *levels.shape[1:])), 0, 2))


@contextmanager
def geo_source(path: Path, driver: str = "GTiff") -> Iterator[GeoSource]:
    """The picture of a file that GDAL reads as GTiff or JPEG; raises UserError if it cannot be read."""
    import rasterio

    with regular_file(path):  # GDAL opens by name and would wait for a pipe
        pass
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MIB), _quiet(rasterio.open, path.absolute(), driver=driver) as dataset:
            yield GeoSource(dataset, path)
    except rasterio.errors.RasterioIOError as error:
        raise UserError(f"the file cannot be read: {error}", path, "Copy it again, or remove it.") from None


def geo_writer(path: Path, shape: tuple[int, int], num_channels: int, dtype: Any, place: Place, colors: Any) -> Any:
    """A GeoTIFF in compressed tiles, open for writing; `colors` is a map from value to color, or None."""
    import rasterio

    height, width = shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": num_channels,
        "dtype": np.dtype(dtype).name,
    }
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "bigtiff": "if_safer"}
    if num_channels == 3:
        layout["photometric"] = "rgb"
    where = {"gcps": place.points} if place.points else {"transform": place.transform}
    dataset = _quiet(rasterio.open, path, "w", crs=place.crs, **where, **profile, **layout)
    if colors is not None:
        dataset.write_colormap(1, colors)
    return dataset


def _quiet(call: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls without the warning that a picture has no place."""
    import warnings

    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return call(*args, **kwargs)


def _color_bands(dataset: Any) -> list[int]:
    """The bands of red, green and blue, or the one of gray."""
    names = [color.name for color in dataset.colorinterp]
    if {"red", "green", "blue"} <= set(names):
        return [names.index(name) + 1 for name in ("red", "green", "blue")]
    return [1, 2, 3] if dataset.count >= 3 else [1]


def _palette(dataset: Any) -> NDArray[np.uint8] | None:
    if dataset.colorinterp[0].name != "palette":
        return None
    palette = np.zeros((256, 3), np.uint8)
    for value, color in dataset.colormap(1).items():
        palette[value] = color[:3]
    return palette
