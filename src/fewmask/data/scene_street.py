"""What a street is made of, one function each: building, skyline, ground."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from fewmask.data.scene_canvas import (
    BUILDING,
    EMPTY,
    NEAREST,
    PAVEMENT,
    ROAD,
    TILE,
    TREE,
    Array,
    Canvas,
    noise,
    pick,
)


@dataclass(frozen=True)
class Facade:
    """How the walls of one building look; lengths in meters, colors as display values."""

    height: float
    floor: float  # height of a floor
    bay: float  # distance of windows
    pane: tuple[float, float]  # window's share of the bay and of the floor
    wall: Array
    trim: Array
    roof: Array
    material: str  # plaster, brick, panel
    top: str  # flat, gable, mansard
    shop: bool
    tones: Array  # (16, 64): one random number for each window
    origin: int  # texel at which the texture starts


@dataclass(frozen=True)
class Ground:
    """The plan of the street, seen from above, in meters."""

    half_road: float
    half_crossing: float  # 0: no crossing
    crossing_at: float
    asphalt: Array
    slabs: Array
    slab: tuple[float, float]
    marked: bool
    zebra: bool
    origin: int


def draw_building(canvas: Canvas, facade: Facade, first: float, last: float, front: float, back: float) -> None:
    """A house between two places along the street; its front stands at `front` across, its back at `back`."""
    world = canvas.view.world
    corners = world(first, front), world(last, front)
    ends = (*corners, world(first, back)), (*corners[::-1], world(last, back))
    if max(z for end in ends for _, z in end) < NEAREST:
        return
    draw_wall(canvas, facade, *corners, is_front=True)
    for (x, z), (other_x, other_z), behind in ends:
        if x * (x - other_x) + z * (z - other_z) < 0:  # this end faces the eye
            draw_wall(canvas, facade, (x, z), behind, is_front=False)


def draw_wall(
    canvas: Canvas, facade: Facade, start: tuple[float, float], end: tuple[float, float], is_front: bool
) -> None:
    view = canvas.view
    step_x, step_z = end[0] - start[0], end[1] - start[1]
    length = math.hypot(step_x, step_z)
    gable = 0.45 * min(length, 9.0) if facade.top == "gable" and is_front else 0.0
    normal_x, normal_z = step_z / length, -step_x / length
    if normal_x * start[0] + normal_z * start[1] > 0:  # the normal points at the eye
        normal_x, normal_z = -normal_x, -normal_z
    facing = normal_x * canvas.sun[0] + normal_z * canvas.sun[2]
    if facing < 0:
        canvas.walls.append((*start, step_x, step_z, facade.height + gable / 2))

    columns, _ = canvas.window(0, view.width, 0, 0)
    ray = (columns[0] - view.width / 2) / view.focal
    share = (start[0] - start[1] * ray) / (step_z * ray - step_x)
    depth = start[1] + share * step_z
    hit = np.nonzero((share >= 0) & (share <= 1) & (depth > NEAREST / 2))[0]
    if not len(hit):
        return
    horizon = view.horizon_at(columns[0])
    roofline = horizon[hit] - view.focal * (facade.height + gable + 1.5 - view.eye) / depth[hit]
    foot = horizon[hit] + view.focal * view.eye / depth[hit]
    columns, rows = canvas.window(hit[0], hit[-1] + 1, roofline.min(), foot.max())
    span = slice(hit[0], hit[-1] + 1)
    height = view.eye - (rows - horizon[span]) * (depth[span] / view.focal)
    inside = (height >= 0) & (height <= _roofline(facade, share[span] * length, length, gable))
    pixels = canvas.visible(columns, rows, inside & (share[span] >= 0) & (share[span] <= 1), depth[span])
    column, (_, row) = pixels % view.width, canvas.centers(pixels)
    z = depth[column]
    y = view.eye - (row - horizon[column]) * z / view.focal
    color, glow = _wall_colors(facade, share[column] * length, y, z, length, is_front)
    under_eaves = (y > facade.height - 1.2) & (y < facade.height - 0.5)
    canvas.paint(pixels, BUILDING, z, color, max(0.0, facing) * (1 - 0.5 * under_eaves), glow)


def _roofline(facade: Facade, s: Array, length: float, gable: float) -> Array:
    """Height of the top of the wall at `s` meters from its start: gable and chimneys included."""
    top = facade.height + gable * (1 - np.abs(2 * s / length - 1))
    if facade.top != "flat":
        chimney = length * (0.15 + 0.7 * float(facade.tones[0, 0]))
        top = top + np.where(np.abs(s - chimney) < 0.5, 0.9, 0)
    return top


def _wall_colors(facade: Facade, s: Array, y: Array, z: Array, length: float, is_front: bool) -> tuple[Array, Array]:
    """Color (n, 3) and glow (n) of points `s` meters along, `y` meters up and `z` meters away."""
    crisp = 1 / (1 + z / 14)  # fine texture fades with distance
    grain = noise(s * 9 + facade.origin, y * 9 + facade.origin)
    shade = 1 + 0.16 * grain - 0.18 * np.maximum(0, 1 - y / 0.9)
    if facade.material == "brick":
        course = np.floor(y / 0.26)
        offset = s / 0.62 + 0.5 * (course % 2)
        joint = (y / 0.26 - course < 0.2) | (offset - np.floor(offset) < 0.1)
        shade *= 1 + crisp * (0.22 * joint + 0.2 * noise(np.floor(offset) * 37, course * 53))
    bays = max(1, round(length / facade.bay))
    across, up = s * (bays / length), y / facade.floor
    bay, floor = np.floor(across), np.floor(up)
    x, h = np.abs(across - bay - 0.5), up - floor
    if facade.material == "panel":
        shade *= 1 - 0.25 * ((h < 0.04) | (x > 0.485)) * (0.4 + crisp)
    color = facade.wall * shade[:, None]

    ground_floor = floor < 1
    half_width = np.where(ground_floor & facade.shop, 0.43, facade.pane[0] / 2)
    sill = np.where(ground_floor & facade.shop, 0.14, 0.28)
    lintel = np.where(ground_floor & facade.shop, 0.72, 0.28 + facade.pane[1])
    eaves = facade.height - (2.4 if facade.top == "mansard" else 0.0)
    tone = facade.tones[floor.astype(np.int64) % 16, bay.astype(np.int64) % 64]
    windows = (y < np.floor(eaves / facade.floor) * facade.floor) & (is_front | (tone > 0.55))
    door = ground_floor & (bay == bays // 2) & is_front & (not facade.shop)
    half_width, sill, lintel = np.where(door, 0.2, half_width), np.where(door, 0.0, sill), np.where(door, 0.7, lintel)
    frame = windows & (x < half_width + 0.05) & (h > sill - 0.05) & (h < lintel + 0.04)
    pane = windows & (x < half_width) & (h > sill) & (h < lintel)
    color[frame] = facade.trim
    glass = 0.1 + 0.22 * tone + 0.25 * (h - sill) * (tone > 0.3)
    bars = (np.abs(x) < 0.018) | (np.abs(h - sill - 0.62 * (lintel - sill)) < 0.02)
    color[pane] = np.stack([glass * 0.85, glass * 0.95, glass * 1.1], axis=1)[pane]
    color[pane & door] = facade.roof * 0.7
    color[pane & bars & ~door] = facade.trim * 0.9
    glow = np.where(pane & ~door & ((tone > 0.62) | (ground_floor & facade.shop)), 0.35 + 0.6 * h, 0).astype(np.float32)

    if facade.shop:
        awning = (y > 0.76 * facade.floor) & (y < 0.98 * facade.floor) & is_front
        stripes = np.floor(s / 0.5) % 2 == 0
        color[awning] = facade.roof * np.float32(1.1)
        color[awning & stripes & (facade.tones[1, 1] > 0.5)] = (0.85, 0.83, 0.78)
    if facade.top == "mansard":
        dormer = (y > eaves + 0.3) & (y < eaves + 1.7) & (x < 0.2)
        color[y > eaves] = (facade.roof * (0.9 + 0.2 * grain + 0.1 * np.sin(y * 25) * crisp)[:, None])[y > eaves]
        color[dormer] = facade.trim
        color[dormer & (x < 0.15) & (y < eaves + 1.5) & (y > eaves + 0.4)] = (0.2, 0.23, 0.28)
    cornice = (y > eaves - 0.45) & (y < eaves) if facade.top != "gable" else np.abs(y - facade.height + 0.2) < 0.15
    color[cornice] = facade.trim * 0.92
    color[y > facade.height + 0.05] *= 0.92
    return color, glow


def draw_skyline(canvas: Canvas, rng: Generator, green: float) -> None:
    """What closes the street far away: stepped roofs, or a line of woods where `green` is large."""
    view = canvas.view
    distance = float(rng.uniform(110, 190))
    columns, _ = canvas.window(0, view.width, 0, 0)
    heading = (columns[0] - view.width / 2) / view.focal
    blocks = np.floor(heading * 9 + 40 + noise(heading * 60, heading * 0) * 2).astype(np.int64)
    woods = rng.random(256)[blocks % 256] < green
    roofs = 4 + 16 * rng.random(256)[blocks % 256] ** 2
    origin = int(rng.integers(TILE))
    crowns = 6 + 5 * noise(heading * 300 + origin, heading * 0 + 5) + 3 * noise(heading * 90, heading * 0 + origin)
    top = np.where(woods, np.maximum(crowns, 2), roofs)
    horizon = view.horizon_at(columns[0])
    scale = view.focal / distance
    columns, rows = canvas.window(0, view.width, (horizon - 26 * scale).min(), (horizon + view.eye * scale).max() + 1)
    inside = (rows < horizon + view.eye * scale) & (rows > horizon - (top - view.eye) * scale)
    pixels = canvas.visible(columns, rows, inside, distance)
    column, row = pixels % view.width, pixels // view.width
    leaf, wall = pick(rng, ("3f5a34", "4a5d3a", "6a6a3a")), pick(rng, ("8a857c", "9a8d80", "77787c"))
    tone = 1 + 0.3 * noise(column * 2, row * 2) + 0.25 * (rng.random(256)[blocks[column] % 256] - 0.5)
    color = np.where(woods[column, None], leaf, wall) * tone[:, None]
    canvas.paint(pixels, BUILDING, distance, color, 0.4)
    canvas.thing[pixels[woods[column]]] = TREE


def draw_ground(canvas: Canvas, ground: Ground) -> None:
    """Road and pavement wherever nothing stands in front of them, with everything's shadow."""
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
    """Where the road is painted white: a dashed middle line, a zebra before the crossing."""
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
    """Share of the direct sun, and of all light under things that touch the ground."""
    lit, contact = np.ones(x.shape, np.float32), np.ones(x.shape, np.float32)
    reach = min(1 / max(canvas.sun[1], 0.05), 6.0)
    for wall_x, wall_z, step_x, step_z, height in canvas.walls:  # a wall's shadow is a parallelogram
        cast_x, cast_z = -canvas.sun[0] * reach * height, -canvas.sun[2] * reach * height
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
        distance = np.hypot(off_x - share * step_x, off_z - share * step_z) / radius
        if shadow.contact:
            contact[near] *= 1 - 0.6 * np.clip(2.5 * (1 - distance), 0, 1)
        else:
            lit[near] *= 1 - 0.9 * np.clip(3 * (1 - distance - rough[near]), 0, 1)
    return lit, contact
