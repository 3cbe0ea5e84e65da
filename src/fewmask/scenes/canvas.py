"""The canvas of a scene: planes of class, depth, color and light, the camera that looks at it, textures and colors.

World: meters, X right, Y up, Z forward, the eye at (0, eye, 0). Street: `along` runs down the road, and `across` runs
to its right. The road bends, so (along, across) is not a rotation of (X, Z). Screen: columns grow to the right and rows
grow down. Things are painted in any order, and a pixel shows the nearest thing.
"""

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[Any]
Outline = list[tuple[float, float]]

SCENE_CLASSES = ("sky", "building", "road", "pavement", "tree", "car", "person", "pole")
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON, POLE = range(8)
EMPTY = 255  # a pixel that nothing covers yet
NEAREST = 1.2  # meters; a thing that comes closer to the eye is left out
TILE = 512  # texels of the noise, per side; a power of two


@dataclass(frozen=True)
class View:
    """Where the camera stands and looks, and how the street lies around it."""

    height: int
    width: int
    focal: float  # pixels
    eye: float  # height in meters above the ground
    horizon: float  # row of the horizon at the middle column
    roll: float  # rows that the horizon falls per column
    bend: float  # rows that the horizon falls per column and per distance from the middle column
    yaw: float  # radians from the direction of the street
    across: float  # meters from the middle of the road
    curve: float  # meters that the road departs to the right, per squared meter along

    def horizon_at(self, columns: Any) -> Any:
        offset = columns - self.width / 2
        return self.horizon + (self.roll + self.bend * offset) * offset

    def world(self, along: Any, across: Any) -> tuple[Any, Any]:
        """(X, Z) of a place of the street."""
        side = across - self.across + self.curve * along * along
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return side * cos - along * sin, side * sin + along * cos

    def street(self, x: Array, z: Array) -> tuple[Array, Array]:
        """(along, across) of a place of the world."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        along = z * cos - x * sin
        return along, x * cos + z * sin + self.across - self.curve * along * along

    def project(self, x: Any, y: Any, z: Any) -> tuple[Any, Any]:
        """(column, row) of a point of the world in front of the eye."""
        column = self.width / 2 + self.focal * x / z
        return column, self.horizon_at(column) + self.focal * (self.eye - y) / z


@dataclass(frozen=True)
class Shadow:
    """A soft capsule on the ground; `contact` also takes away the light of the sky."""

    start: tuple[float, float]
    end: tuple[float, float]
    radius: float
    contact: bool = False


@dataclass
class Canvas:
    """Flat planes of height x width pixels, and what later passes need to know about the things painted so far."""

    view: View
    sun: tuple[float, float, float]  # unit vector towards the sun
    shadows: list[Shadow] = field(default_factory=list)
    walls: list[tuple[float, ...]] = field(default_factory=list)  # X, Z, step X, step Z, height; they cast shadows

    def __post_init__(self) -> None:
        pixels = self.view.height * self.view.width
        self.thing = np.full(pixels, EMPTY, np.uint8)
        self.depth = np.full(pixels, np.inf, np.float32)
        self.color = np.zeros((pixels, 3), np.float32)  # as seen in white light, display values in [0, 1]
        self.lit = np.zeros(pixels, np.float32)  # share of the direct sun
        self.glow = np.zeros(pixels, np.float32)  # light that the thing gives off, seen at dusk

    @property
    def reach(self) -> tuple[float, float]:
        """(X, Z) of the shadow of a point one meter above the ground."""
        length = min(1 / max(self.sun[1], 0.05), 6.0)
        return -self.sun[0] * length, -self.sun[2] * length

    def cast(self, x: float, z: float, radius: float, low: float, high: float) -> None:
        """Add the shadow of an upright thing that stands at (x, z) and spans heights `low` to `high`."""
        step_x, step_z = self.reach
        start, end = (x + step_x * low, z + step_z * low), (x + step_x * high, z + step_z * high)
        self.shadows.append(Shadow(start, end, radius))

    def rest(self, x: float, z: float, radius: float) -> None:
        """Add the dark place where a thing touches the ground."""
        self.shadows.append(Shadow((x, z), (x, z), radius, contact=True))

    def columns(self) -> Array:
        """Centers of all columns."""
        return np.arange(self.view.width, dtype=np.float32) + np.float32(0.5)

    def window(self, left: float, right: float, top: float, bottom: float) -> tuple[Array, Array]:
        """Centers of the pixels of a rectangle, cut to the picture: (1, columns) and (rows, 1)."""
        first, last = max(0, math.floor(left)), min(self.view.width, math.ceil(right))
        upper, lower = max(0, math.floor(top)), min(self.view.height, math.ceil(bottom))
        columns = np.arange(first, max(first, last), dtype=np.float32)[None] + 0.5
        return columns, np.arange(upper, max(upper, lower), dtype=np.float32)[:, None] + 0.5

    def centers(self, pixels: Array) -> tuple[Array, Array]:
        """(column, row) of the centers of flat pixels."""
        column, row = pixels % self.view.width, pixels // self.view.width
        return column.astype(np.float32) + 0.5, row.astype(np.float32) + 0.5

    def visible(self, columns: Array, rows: Array, inside: Array, depth: Any) -> Array:
        """Flat positions of the pixels of a window that are `inside` a thing and not behind another."""
        if not inside.size:
            return np.zeros(0, np.int64)
        first, upper = int(columns[0, 0]), int(rows[0, 0])
        window = (slice(upper, upper + rows.shape[0]), slice(first, first + columns.shape[1]))
        hit_row, hit_column = np.nonzero(inside & (depth <= self.depth.reshape(self.view.height, -1)[window]))
        return (hit_row + upper) * self.view.width + hit_column + first

    def paint(self, pixels: Array, thing: int, depth: Any, color: Any, lit: Any, glow: Any = 0.0) -> None:
        """Set class, depth in meters from the eye, display color, share of the sun and own light of the pixels."""
        self.thing[pixels] = thing
        self.depth[pixels] = depth
        self.color[pixels] = color
        self.lit[pixels] = lit
        self.glow[pixels] = glow

    def polygon(
        self,
        corners: Array,
        thing: int,
        depth: float,
        color: Array,
        lit: float = 0.5,
        glow: float = 0.0,
        grain: float = 0.0,
    ) -> None:
        """Paint a convex polygon of screen points (corner, 2)."""
        places = corners.tolist()
        across, down = zip(*places, strict=True)
        columns, rows = self.window(min(across), max(across), min(down), max(down))
        if not columns.size * rows.size:
            return
        edges = list(zip(places, places[1:] + places[:1], strict=True))
        turn = 1.0 if sum(here[0] * there[1] - there[0] * here[1] for here, there in edges) > 0 else -1.0
        inside = np.ones((rows.shape[0], columns.shape[1]), bool)
        for (column, row), (next_column, next_row) in edges:
            step, fall = turn * (next_column - column), turn * (next_row - row)
            inside &= rows * step - row * step >= columns * fall - column * fall
        pixels = self.visible(columns, rows, inside, depth)
        if grain:
            color = color * (1 + grain * noise(*self.centers(pixels)))[:, None]
        self.paint(pixels, thing, depth, color, lit, glow)


class Stand(NamedTuple):
    """A place on the ground as the camera sees it."""

    x: float
    z: float
    column: float
    row: float  # row where the ground is
    scale: float  # pixels per meter

    def corners(self, outline: Outline) -> Array:
        """Screen points of an outline in meters right of and above the place."""
        return np.array([(self.column + self.scale * x, self.row - self.scale * y) for x, y in outline])


def stand(canvas: Canvas, along: float, across: float, reach: float) -> Stand | None:
    """The place, or None if a thing of half-width `reach` meters would be out of sight there."""
    x, z = canvas.view.world(along, across)
    if z < max(reach, NEAREST):
        return None
    column, row = canvas.view.project(x, 0.0, z)
    scale = canvas.view.focal / z
    if not -reach * scale < column < canvas.view.width + reach * scale:
        return None
    return Stand(x, z, float(column), float(row), scale)


def box(left: float, right: float, bottom: float, top: float) -> Outline:
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


def disc(x: float, y: float, wide: float, high: float, corners: int = 10, turn: float = 0.0) -> Outline:
    """A regular polygon around (x, y), stretched to the radii `wide` and `high`; `turn` in radians."""
    angles = [turn + math.tau * corner / corners for corner in range(corners)]
    return [(x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles]


def noise(x: Array, y: Array) -> Array:
    """Value noise of seven octaves, from about -1 to 1, at texel (x, y) of an endless plane of tiles."""
    return np.asarray(_noise_tile()[y.astype(np.int32) & (TILE - 1), x.astype(np.int32) & (TILE - 1)])


def rgb(code: str) -> Array:
    """Display values in [0, 1] of a hexadecimal color."""
    return np.array([int(code[start : start + 2], 16) / 255 for start in (0, 2, 4)], np.float32)


def pick(rng: Generator, codes: tuple[str, ...], spread: float = 0.035) -> Array:
    """One of the colors at random, made lighter or darker and moved by up to `spread` in each channel."""
    color = rgb(codes[int(rng.integers(len(codes)))])
    return np.clip(color * rng.uniform(0.85, 1.12) + rng.uniform(-spread, spread, 3).astype(np.float32), 0.03, 0.97)


@cache
def _noise_tile() -> Array:
    rng = np.random.default_rng(1903)
    total = np.zeros((TILE, TILE), np.float32)
    for octave in range(7):
        cells = 8 << octave
        lattice = rng.random((cells, cells), np.float32) * 2 - 1
        place = np.arange(TILE, dtype=np.float32) * cells / TILE
        low = place.astype(np.int64)
        high = (low + 1) % cells
        blend = place - low.astype(np.float32)
        blend = blend * blend * (3 - 2 * blend)
        rows = lattice[low] * (1 - blend)[:, None] + lattice[high] * blend[:, None]
        total += (rows[:, low] * (1 - blend) + rows[:, high] * blend) * 0.62**octave
    return np.asarray(total * (1.2 / float(np.abs(total).max())))
