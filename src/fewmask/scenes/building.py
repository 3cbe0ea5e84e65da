"""A building: walls in perspective with windows, doors, shops, gables, mansards and chimneys."""

import math
from dataclasses import dataclass

import numpy as np

from fewmask.scenes.canvas import BUILDING, NEAREST, Array, Canvas, noise, rgb

MANSARD = 2.4  # meters of roof above the eaves
CHIMNEY = 0.9
GLASS = np.array([0.85, 0.95, 1.1], np.float32)


@dataclass(frozen=True)
class Facade:
    """How the walls of one building look; lengths in meters, colors as display values."""

    height: float
    floor: float  # height of a floor
    bay: float  # meters from one window to the next
    pane: tuple[float, float]  # share of the bay and of the floor that a window takes
    wall: Array
    trim: Array
    roof: Array
    material: str  # plaster, brick, panel
    top: str  # flat, gable, mansard
    shop: bool
    tones: Array  # (16, 64): one random number for each window
    origin: int  # texel at which the texture starts

    @property
    def eaves(self) -> float:
        """Height where the wall ends and a mansard begins."""
        return self.height - (MANSARD if self.top == "mansard" else 0.0)


def draw_building(canvas: Canvas, facade: Facade, first: float, last: float, front: float, back: float) -> None:
    """Draw a house between two places along the street; its front stands at `front` across, its back at `back`."""
    world = canvas.view.world
    corners = world(first, front), world(last, front)
    ends = (*corners, world(first, back)), (*corners[::-1], world(last, back))
    if max(z for end in ends for _, z in end) < NEAREST:
        return
    _draw_wall(canvas, facade, *corners, is_front=True)
    for (x, z), (other_x, other_z), behind in ends:
        if x * (x - other_x) + z * (z - other_z) < 0:  # this end faces the eye
            _draw_wall(canvas, facade, (x, z), behind, is_front=False)


def _draw_wall(
    canvas: Canvas, facade: Facade, start: tuple[float, float], end: tuple[float, float], is_front: bool
) -> None:
    """Draw one wall from (X, Z) to (X, Z); each column of the picture meets it once, at one depth."""
    view = canvas.view
    step_x, step_z = end[0] - start[0], end[1] - start[1]
    length = math.hypot(step_x, step_z)
    gable = 0.45 * min(length, 9.0) if facade.top == "gable" and is_front else 0.0
    outward = -1 if step_z * start[0] - step_x * start[1] > 0 else 1  # the normal points at the eye
    sunny = outward * (step_z * canvas.sun[0] - step_x * canvas.sun[2]) / length
    if sunny < 0:
        canvas.walls.append((*start, step_x, step_z, facade.height + gable / 2))

    columns = canvas.columns()
    ray = (columns - view.width / 2) / view.focal
    turn = step_z * ray - step_x
    share = (start[0] - start[1] * ray) / np.where(turn == 0, np.float32(1e-6), turn)
    depth = start[1] + share * step_z
    met = (share >= 0) & (share <= 1) & (depth > NEAREST / 2)
    hit = np.nonzero(met)[0]
    if not len(hit):
        return
    horizon = view.horizon_at(columns)
    highest = horizon[hit] - view.focal * (facade.height + gable + CHIMNEY - view.eye) / depth[hit]
    foot = horizon[hit] + view.focal * view.eye / depth[hit]
    columns, rows = canvas.window(float(hit[0]), float(hit[-1] + 1), float(highest.min()), float(foot.max()))
    span = slice(hit[0], hit[-1] + 1)
    height = view.eye - (rows - horizon[span]) * (depth[span] / view.focal)
    inside = met[span] & (height >= 0) & (height <= _top_of_wall(facade, share[span] * length, length, gable))
    pixels = canvas.visible(columns, rows, inside, depth[span])
    column, (_, row) = pixels % view.width, canvas.centers(pixels)
    z = depth[column]
    y = view.eye - (row - horizon[column]) * z / view.focal
    color, glow = _color_wall(facade, share[column] * length, y, z, length, is_front)
    under_eaves = (y > facade.height - 1.2) & (y < facade.height - 0.5)
    canvas.paint(pixels, BUILDING, z, color, max(0.0, sunny) * (1 - 0.5 * under_eaves), glow)


def _top_of_wall(facade: Facade, s: Array, length: float, gable: float) -> Array:
    """Height of the wall, gable and chimney included, at `s` meters from its start."""
    top = facade.height + gable * (1 - np.abs(2 * s / length - 1))
    if facade.top != "flat":
        chimney = length * (0.15 + 0.7 * float(facade.tones[0, 0]))
        top = top + np.where(np.abs(s - chimney) < 0.5, CHIMNEY, 0)
    return np.asarray(top)


def _color_wall(facade: Facade, s: Array, y: Array, z: Array, length: float, is_front: bool) -> tuple[Array, Array]:
    """Color (n, 3) and glow (n) of points `s` meters along, `y` meters up and `z` meters away."""
    crisp = 1 / (1 + z / 14)  # fine texture fades with distance
    grain = noise(s * 9 + facade.origin, y * 9 + facade.origin)
    bays = max(1, round(length / facade.bay))
    bay, floor = np.floor(s * (bays / length)), np.floor(y / facade.floor)
    x = np.abs(s * (bays / length) - bay - 0.5)  # distance from the middle of the bay, as a share of the bay
    h = y / facade.floor - floor  # height above the floor, as a share of the floor's height
    color = facade.wall * (_masonry(facade, s, y, x, h, crisp) * (1 + 0.16 * grain))[:, None]

    tone = facade.tones[floor.astype(np.int64) % 16, bay.astype(np.int64) % 64]
    street_level = floor < 1
    shop, door = street_level & facade.shop, street_level & (bay == bays // 2) & is_front & (not facade.shop)
    half_width = np.where(shop, 0.43, np.where(door, 0.2, facade.pane[0] / 2))
    sill = np.where(shop, 0.14, np.where(door, 0.0, 0.28))
    lintel = np.where(shop, 0.72, np.where(door, 0.7, 0.28 + facade.pane[1]))
    there = (y < math.floor(facade.eaves / facade.floor) * facade.floor) & (is_front | (tone > 0.55))
    color[there & (x < half_width + 0.05) & (h > sill - 0.05) & (h < lintel + 0.04)] = facade.trim
    pane = there & (x < half_width) & (h > sill) & (h < lintel)
    glass = 0.1 + 0.22 * tone + 0.25 * (h - sill) * (tone > 0.3)
    color[pane] = glass[pane, None] * GLASS
    bars = (x < 0.018) | (np.abs(h - sill - 0.62 * (lintel - sill)) < 0.02)
    color[pane & bars] = facade.trim * 0.9
    color[pane & door] = facade.roof * 0.7
    shines = pane & ~door & ((tone > 0.62) | shop)
    glow = np.where(shines, 0.35 + 0.6 * h, 0).astype(np.float32)

    if facade.shop and is_front:
        awning = (y > 0.76 * facade.floor) & (y < 0.98 * facade.floor)
        color[awning] = facade.roof * 1.1
        if facade.tones[1, 1] > 0.5:
            color[awning & (np.floor(s / 0.5) % 2 == 0)] = rgb("d8d4c7")
    _color_roof(facade, color, x, y, grain)
    return color, glow


def _masonry(facade: Facade, s: Array, y: Array, x: Array, h: Array, crisp: Array) -> Array:
    """Brightness of the bare wall: bricks, joints of panels, dirt at the foot."""
    shade = 1 - 0.18 * np.maximum(0, 1 - y / 0.9)
    if facade.material == "brick":
        course = np.floor(y / 0.26)
        offset = s / 0.62 + 0.5 * (course % 2)
        joint = (y / 0.26 - course < 0.2) | (offset - np.floor(offset) < 0.1)
        shade *= 1 + crisp * (0.22 * joint + 0.2 * noise(np.floor(offset) * 37, course * 53))
    elif facade.material == "panel":
        shade *= 1 - 0.25 * ((h < 0.04) | (x > 0.485)) * (0.4 + crisp)
    return np.asarray(shade)


def _color_roof(facade: Facade, color: Array, x: Array, y: Array, grain: Array) -> None:
    """Paint the cornice, and the tiles and dormers of a mansard, over the colors of the wall."""
    above = y - facade.eaves
    if facade.top == "mansard":
        tiles = above > 0
        rows_of_tiles = 0.08 * (y[tiles] / 0.3 % 1 < 0.5)
        color[tiles] = facade.roof * (0.86 + 0.2 * grain[tiles] + rows_of_tiles)[:, None]
        color[(above > 0.3) & (above < 1.7) & (x < 0.2)] = facade.trim
        color[(above > 0.4) & (above < 1.5) & (x < 0.15)] = rgb("333b47")
    cornice = np.abs(above + 0.2) < 0.15 if facade.top == "gable" else (above > -0.45) & (above < 0)
    color[cornice] = facade.trim * 0.92
    color[y > facade.height + 0.05] *= 0.92
