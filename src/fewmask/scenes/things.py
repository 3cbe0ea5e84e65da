"""What stands in a street, with one function for each kind: tree, person, pole."""

import math

import numpy as np
from numpy.random import Generator

from fewmask.scenes.canvas import (
    PERSON,
    POLE,
    TILE,
    TREE,
    Array,
    Canvas,
    Outline,
    Stand,
    box,
    disc,
    noise,
    pick,
    rgb,
    stand,
)

BARK = ("4a3b2e", "5a4a3c", "6b6258", "3a3230")
CLOTHES = ("20242c", "2f3f63", "7a2a2e", "c9c4b8", "4c5a45", "8a6a4a", "d0a030", "8c8f96", "5d3b66", "e8e4da", "b8503a")
SHOES = ("1c1a1a", "4a3a30", "d8d4cc")
SKINS = ("e8bd9c", "c99270", "8d5a3c", "5c3a28")
HAIRS = ("2a1f1a", "1a1614", "6b4a2c", "b89058", "8a8682")
METALS = ("2b2f33", "6e7478", "8f9498", "3f4a44", "b0b0ac")
SIGNS = ("b8262a", "2450a0", "e6e4de", "d8a820", "2a6a48")
LAMPLIGHT = "f6f0dc"
TREE_WIDTH = {"broad": 0.3, "slender": 0.15, "conic": 0.2}  # half the width of the crown, as a share of the height


def draw_tree(canvas: Canvas, rng: Generator, along: float, across: float, size: float, leaves: Array) -> None:
    """Draw a broad, a slender or a conic tree `size` meters high; the smallest are bushes."""
    shape = str(rng.choice(list(TREE_WIDTH), p=[0.66, 0.2, 0.14]))
    spread = size * TREE_WIDTH[shape] * float(rng.uniform(0.85, 1.2))
    bottom = size * float(rng.uniform(0.2, 0.36)) if size > 2 else 0.1
    puffs = rng.uniform(-1, 1, (13, 3))
    bark, leaves = pick(rng, BARK), np.clip(leaves * rng.uniform(0.9, 1.12, 3).astype(np.float32), 0, 1)
    lean, origin = size * float(rng.uniform(-0.03, 0.03)), int(rng.integers(TILE))
    place = stand(canvas, along, across, max(3.0, spread))
    if place is None:
        return
    canvas.cast(place.x, place.z, spread * 0.85, bottom, size)
    canvas.cast(place.x, place.z, 0.12, 0.0, bottom)
    canvas.rest(place.x, place.z, 0.5)
    girth = 0.035 * size
    trunk = [(-girth, 0.0), (girth, 0.0), (lean + girth * 0.5, bottom * 2), (lean - girth * 0.5, bottom * 2)]
    canvas.polygon(place.corners(trunk), TREE, place.z, bark, lit=0.5, grain=0.35)
    circles = _crown(puffs, shape, spread, bottom, size, lean)
    _paint_leaves(canvas, place, circles, leaves, origin)


def _crown(
    puffs: Array, shape: str, spread: float, bottom: float, top: float, lean: float
) -> list[tuple[float, float, float]]:
    """(x, y, radius) of each ball of leaves in meters: three balls fill the middle, the others make the outline."""
    circles = []
    for number, (right, up, large) in enumerate(puffs.tolist()):
        fills = number < 3
        x, y = (0.3 * right, 0.55 * (number - 1)) if fills else (right, up)  # in shares of the half-axes
        taper = 1 - 0.42 * (y + 1) if shape == "conic" else math.sqrt(1 - 0.75 * y * y)
        radius = spread * (0.75 if fills else 0.34 + 0.14 * large) * (0.35 + 0.65 * taper)
        height = (top + bottom) / 2 + y * ((top - bottom) / 2 - 0.6 * radius)
        circles.append((lean + 0.75 * x * spread * taper, height, radius))
    return circles


def _paint_leaves(
    canvas: Canvas, place: Stand, circles: list[tuple[float, float, float]], leaves: Array, origin: int
) -> None:
    """Paint overlapping balls with a ragged edge, brighter towards the sun."""
    left, right = min(x - 1.3 * radius for x, _, radius in circles), max(x + 1.3 * radius for x, _, radius in circles)
    low, high = min(y - 1.3 * radius for _, y, radius in circles), max(y + 1.3 * radius for _, y, radius in circles)
    (first, upper), _, (last, lower), _ = place.corners(box(left, right, high, low)).tolist()
    columns, rows = canvas.window(first, last, upper, lower)
    if not columns.size * rows.size:
        return
    x, y = (columns - place.column) / place.scale, (place.row - rows) / place.scale
    light_x, light_y = canvas.sun[0], max(canvas.sun[1], 0.4)
    strength = 1 / math.hypot(light_x, light_y)
    fullness = np.full((rows.shape[0], columns.shape[1]), -9.0, np.float32)
    shade = np.zeros_like(fullness)
    for center_x, center_y, radius in circles:
        off_x, off_y = (x - center_x) / radius, (y - center_y) / radius
        ball = 1 - off_x * off_x - off_y * off_y
        shade = np.where(ball > fullness, (off_x * light_x + off_y * light_y) * strength, shade)
        fullness = np.maximum(fullness, ball)
    leaf = noise(x * 30 + origin, y * 30 + origin) + 0.6 * noise(x * 170, y * 170 + origin)
    pixels = canvas.visible(columns, rows, fullness + 0.6 * leaf > 0.1, place.z)
    row, column = pixels // canvas.view.width - int(rows[0, 0]), pixels % canvas.view.width - int(columns[0, 0])
    shade, leaf, height = shade[row, column], leaf[row, column], y[row, 0] / high
    color = leaves * (0.62 + 0.4 * leaf + 0.2 * shade + 0.3 * height)[:, None]
    lit = np.clip(0.4 + 0.6 * shade + 0.3 * leaf, 0, 1)
    canvas.paint(pixels, TREE, place.z, np.clip(color, 0.02, 1), lit)


def draw_person(canvas: Canvas, rng: Generator, along: float, across: float) -> None:
    """Draw a child, or an adult in trousers or a skirt and a coat, perhaps with a bag; the person walks or stands."""
    tall = float(rng.uniform(1.55, 1.9)) if rng.random() < 0.85 else float(rng.uniform(1.05, 1.35))
    coat, trousers, shoe = pick(rng, CLOTHES), pick(rng, CLOTHES), pick(rng, SHOES)
    skin, hair = pick(rng, SKINS, 0.02), pick(rng, HAIRS, 0.02)
    stride, wide = float(rng.uniform(0.0, 0.26)), 0.125 * float(rng.uniform(0.9, 1.2))
    hem = float(rng.choice([0.5, 0.42, 0.3], p=[0.6, 0.25, 0.15]))
    wears_skirt, carries_bag, turn = rng.random() < 0.25, rng.random() < 0.3, 1 if rng.random() < 0.5 else -1
    place = stand(canvas, along, across, 2.5)
    if place is None:
        return
    canvas.rest(place.x, place.z, 0.22)
    canvas.cast(place.x, place.z, 0.2, 0.0, tall)
    lit = 0.6 if canvas.sun[2] < 0 else 0.35

    def part(color: Array, outline: Outline) -> None:  # in shares of the body's height
        corners = place.corners([(x * turn * tall, y * tall) for x, y in outline])
        canvas.polygon(corners, PERSON, place.z, color, lit, grain=0.1)

    for step, shade in ((-stride, 0.8), (stride, 1.0)):
        part(trousers * shade, [(step - 0.04, 0.02), (step + 0.04, 0.02), (0.07, 0.5), (-0.07, 0.5)])
        part(shoe * shade, [(step - 0.045, 0.0), (step + 0.075, 0.0), (step + 0.05, 0.045), (step - 0.045, 0.045)])
    if wears_skirt:
        part(trousers, [(-0.13, 0.28), (0.13, 0.28), (0.08, 0.56), (-0.08, 0.56)])
    hand = stride * 0.5
    part(coat * 0.78, [(-hand - 0.035, 0.44), (-hand + 0.035, 0.44), (0.03, 0.8), (-0.05, 0.8)])
    part(coat, [(-0.95 * wide, hem), (0.95 * wide, hem), (0.85 * wide, 0.78), (-0.85 * wide, 0.78)])
    part(coat, [(-0.85 * wide, 0.77), (0.85 * wide, 0.77), (0.5 * wide, 0.83), (-0.5 * wide, 0.83)])
    if carries_bag:
        part(shoe * 0.9 + 0.1, box(-wide - 0.06, -wide + 0.05, 0.5, 0.72))
    part(coat * 0.88, [(hand - 0.035, 0.45), (hand + 0.035, 0.45), (0.7 * wide, 0.79), (0.2 * wide, 0.79)])
    part(skin, box(hand - 0.03, hand + 0.03, 0.41, 0.46))
    part(skin, box(-0.025, 0.03, 0.81, 0.88))
    part(skin, disc(0.0, 0.918, 0.058, 0.075))
    part(hair, [(-0.062, 0.9), (-0.02, 0.93), (0.05, 0.95), (0.045, 0.985), (0.0, 1.0), (-0.045, 0.985)])


def draw_pole(canvas: Canvas, rng: Generator, along: float, across: float, kind: str) -> None:
    """Draw a `lamp` that reaches over the road, an old `lantern`, a traffic `sign`, a `signal` or a short `bollard`."""
    metal, plate = pick(rng, METALS), pick(rng, SIGNS, 0.03)
    high = {"lamp": 4.5, "lantern": 3.8, "sign": 2.2, "signal": 3.0, "bollard": 0.9}[kind] * float(rng.uniform(1, 1.5))
    arm, corners, shown = float(rng.uniform(0.8, 1.8)), int(rng.choice([3, 4, 12])), int(rng.integers(3))
    place = stand(canvas, along, across, 4.5)
    if place is None:
        return
    canvas.cast(place.x, place.z, 0.07, 0.0, high)
    canvas.rest(place.x, place.z, 0.25)
    half = max(0.055, 0.8 / place.scale)  # wide enough for a sample in every row

    def part(color: Array, outline: Outline, glow: float = 0.0) -> None:
        canvas.polygon(place.corners(outline), POLE, place.z, color, 0.5, glow)

    part(metal, [(-half, 0.0), (half, 0.0), (0.8 * half, high), (-0.8 * half, high)])
    part(metal * 0.7, [(0.2 * half, 0.0), (half, 0.0), (0.8 * half, high), (0.2 * half, high)])
    if kind == "lamp":
        part(metal * 0.9, box(-1.6 * half, 1.6 * half, 0.0, 0.5))
        over_x, over_z = canvas.view.world(along, across - math.copysign(arm, across))
        tip, _ = canvas.view.project(over_x, high, over_z)
        tip = float(tip - place.column) / place.scale
        tip = math.copysign(max(abs(tip), 0.35), tip)
        part(metal, [(0.0, high - half), (0.0, high + half), (tip, high + 0.3 + half), (tip, high + 0.3 - half)])
        part(metal * 0.9, box(0.7 * tip, 1.25 * tip, high + 0.24, high + 0.46))
        part(rgb(LAMPLIGHT), box(0.7 * tip, 1.25 * tip, high + 0.16, high + 0.28), glow=2.5)
    elif kind == "lantern":
        part(metal * 0.9, box(-1.6 * half, 1.6 * half, 0.0, 0.5))
        part(metal, [(-0.1, high), (0.1, high), (0.22, high + 0.5), (-0.22, high + 0.5)])
        pane = [(-0.08, high + 0.06), (0.08, high + 0.06), (0.17, high + 0.44), (-0.17, high + 0.44)]
        part(rgb(LAMPLIGHT), pane, glow=2.5)
        part(metal, [(-0.26, high + 0.48), (0.26, high + 0.48), (0.0, high + 0.75)])
    elif kind == "sign":
        turn = math.pi / 2 if corners == 3 else math.pi / 4
        part(rgb("dcdcd8"), disc(0.0, high, 0.33, 0.33, corners, turn))
        part(plate, disc(0.0, high, 0.265, 0.265, corners, turn))
    elif kind == "signal":
        part(rgb("17191b"), box(-0.2, 0.2, high - 0.1, high + 0.95))
        for number, color in enumerate((rgb("20c060"), rgb("e0a020"), rgb("e02820"))):
            burns = 1.0 if number == shown else 0.3
            part(color * burns, disc(0.0, high + 0.19 + 0.3 * number, 0.11, 0.11), glow=1.5 if number == shown else 0.0)
