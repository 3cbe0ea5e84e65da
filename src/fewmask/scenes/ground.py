"""The ground of a street with its shadows, and the skyline where it ends."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from fewmask.scenes.canvas import BUILDING, EMPTY, NEAREST, PAVEMENT, ROAD, TILE, TREE, Array, Canvas, noise, pick


@dataclass(frozen=True)
class Ground:
    """The plan of the street, seen from above, in meters."""

    half_road: float
    half_crossing: float  # 0 means no crossing
    crossing_at: float
    asphalt: Array
    slabs: Array
    slab: tuple[float, float]
    marked: bool
    zebra: bool
    origin: int


def draw_skyline(canvas: Canvas, rng: Generator, woods_share: float) -> None:
    """Draw what closes the street far away: stepped roofs, or a line of woods if `woods_share` is large."""
    view = canvas.view
    distance = float(rng.uniform(110, 190))
    columns = canvas.columns()
    heading = (columns - view.width / 2) / view.focal
    blocks = np.floor(heading * 9 + 40 + noise(heading * 60, heading * 0) * 2).astype(np.int64)
    woods = rng.random(256)[blocks % 256] < woods_share
    roofs = 4 + 16 * rng.random(256)[blocks % 256] ** 2
    origin = int(rng.integers(TILE))
    crowns = 6 + 5 * noise(heading * 300 + origin, heading * 0 + 5) + 3 * noise(heading * 90, heading * 0 + origin)
    top = np.where(woods, np.maximum(crowns, 2), roofs)
    horizon = view.horizon_at(columns)
    scale = view.focal / distance
    highest, foot = float((horizon - 26 * scale).min()), float((horizon + view.eye * scale).max())
    columns, rows = canvas.window(0.0, float(view.width), highest, foot)
    inside = (rows < horizon + view.eye * scale) & (rows > horizon - (top - view.eye) * scale)
    pixels = canvas.visible(columns, rows, inside, distance)
    column = pixels % view.width
    leaf, wall = pick(rng, ("3f5a34", "4a5d3a", "6a6a3a")), pick(rng, ("8a857c", "9a8d80", "77787c"))
    tone = 1 + 0.3 * noise(*canvas.centers(pixels)) + 0.25 * (rng.random(256)[blocks[column] % 256] - 0.5)
    color = np.where(woods[column, None], leaf, wall) * tone[:, None]
    canvas.paint(pixels, BUILDING, distance, color, 0.4)
    canvas.thing[pixels[woods[column]]] = TREE


def draw_ground(canvas: Canvas, ground: Ground) -> None:
    """Paint road and pavement wherever nothing stands in front of them, with the shadows of all things."""
    view = canvas.view
    pixels = np.nonzero(canvas.thing == EMPTY)[0]
    column, row = canvas.centers(pixels)
    drop = row - view.horizon_at(column)
    pixels, column, drop = (plane[drop > 0.3] for plane in (pixels, column, drop))
    z = view.focal * view.eye / drop
    x = (column - view.width / 2) * z / view.focal
    along, across = view.street(x, z)
    crisp = 1 / (1 + z / 9)
    edge = np.abs(across) - ground.half_road  # meters outside the road
    if ground.half_crossing:
        edge = np.minimum(edge, np.abs(along - ground.crossing_at) - ground.half_crossing)
    road = edge < 0

    fine = noise(along * 22 + ground.origin, across * 22)
    broad = noise(along * 5 + ground.origin, across * 18 + 100)
    tracks = ground.asphalt * (1 + 0.20 * fine * crisp + 0.14 * broad)[:, None]
    tracks[(broad > 0.62) & road] *= 0.8
    marks = _marks(ground, along, across) & road
    tracks[marks] = tracks[marks] * 0.35 + 0.52 + 0.1 * fine[marks, None]
    long, wide = along / ground.slab[0], across / ground.slab[1]
    joint = (long - np.floor(long) < 0.07) | (wide - np.floor(wide) < 0.07)
    plates = noise(np.floor(long) * 41, np.floor(wide) * 67)
    slabs = ground.slabs * (1 + 0.12 * fine * crisp + 0.10 * broad + (0.12 * plates - 0.22 * joint) * crisp)[:, None]
    slabs[edge < 0.2] = np.clip(ground.slabs * 1.2, 0, 0.9)
    tracks[edge > -0.2] *= 0.8
    lit, contact = _shadows(canvas, x, z)
    color = np.where(road[:, None], tracks, slabs) * contact[:, None]
    canvas.paint(pixels, PAVEMENT, z, color, lit * canvas.sun[1])
    canvas.thing[pixels[road]] = ROAD


def _marks(ground: Ground, along: Array, across: Array) -> Array:
    """Where the road is painted white: a dashed line in the middle, and a zebra before the crossing."""
    marks = np.zeros(along.shape, bool)
    from_crossing = np.abs(along - ground.crossing_at) - ground.half_crossing
    clear = from_crossing > 4.5 if ground.half_crossing else ~marks
    if ground.marked:
        marks |= (np.abs(across) < 0.09) & (along % 6 < 3.2) & clear
        marks |= (np.abs(np.abs(across) - ground.half_road + 0.35) < 0.06) & clear
    if ground.zebra and ground.half_crossing:
        marks |= (
            (from_crossing > 1) & (from_crossing < 3.6) & (across % 1.0 < 0.5) & (np.abs(across) < ground.half_road)
        )
    return marks


def _shadows(canvas: Canvas, x: Array, z: Array) -> tuple[Array, Array]:
    """The share of the direct sun, and the share of all light, which is less under things that touch the ground."""
    lit, contact = np.ones(x.shape, np.float32), np.ones(x.shape, np.float32)
    reach_x, reach_z = canvas.reach
    for wall_x, wall_z, step_x, step_z, height in canvas.walls:  # a wall's shadow is a parallelogram
        cast_x, cast_z = reach_x * height, reach_z * height
        area = step_x * cast_z - step_z * cast_x
        if abs(area) < 1e-3:
            continue
        off_x, off_z = x - wall_x, z - wall_z
        share, fall = (off_x * cast_z - off_z * cast_x) / area, (off_z * step_x - off_x * step_z) / area
        lit[(share > 0) & (share < 1) & (fall > 0) & (fall < 1)] = 0
    rough = 0.25 * noise(x * 40, z * 40)
    for shadow in canvas.shadows:
        (from_x, from_z), (to_x, to_z), radius = shadow.start, shadow.end, shadow.radius
        if max(from_z, to_z) + radius < NEAREST:
            continue
        near = np.nonzero(
            (x > min(from_x, to_x) - radius)
            & (x < max(from_x, to_x) + radius)
            & (z > min(from_z, to_z) - radius)
            & (z < max(from_z, to_z) + radius)
        )[0]
        step_x, step_z = to_x - from_x, to_z - from_z
        off_x, off_z = x[near] - from_x, z[near] - from_z
        share = np.clip((off_x * step_x + off_z * step_z) / max(step_x**2 + step_z**2, 1e-6), 0, 1)
        distance = np.sqrt((off_x - share * step_x) ** 2 + (off_z - share * step_z) ** 2) / radius
        if shadow.contact:
            contact[near] *= 1 - 0.6 * np.clip(2.5 * (1 - distance), 0, 1)
        else:
            lit[near] *= 1 - 0.9 * np.clip(3 * (1 - distance - rough[near]), 0, 1)
    return lit, contact
