"""Where things stand: the plan of a street, the camera in it, and its houses, trees, poles, people and cars."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from fewmask.scenes.building import MANSARD, Facade, draw_building
from fewmask.scenes.canvas import TILE, Canvas, View, pick
from fewmask.scenes.car import draw_car
from fewmask.scenes.ground import Ground, draw_ground, draw_skyline
from fewmask.scenes.things import draw_person, draw_pole, draw_tree

GREYS = ("8c8c8a", "a8a6a0", "6e7074", "b4b0a8", "7c766e", "5c6064", "9aa2a4")
PLASTERS = ("d8c49a", "c8a078", "d9d2c2", "b87860", "9fae94", "c8b8a8", "a8b4bc", "e0d0a8", "c09090", "8a9a88")
BRICKS = ("8a4a3a", "9c6048", "74463c", "a87c60", "6a5048", "b09078")
TRIMS = ("e4e0d6", "cfc8ba", "5a5048", "8f8a80", "f0eee8")
ROOFS = ("7a3c30", "4c4a4e", "5c4038", "3c4a50", "8a5a44", "2f5a4c", "9c3a34")
ASPHALTS = ("54565a", "66676a", "75736f", "48494d", "807c76")
SLABS = ("a39d93", "8e8b86", "b0a594", "98836f", "7f8288", "a88f80")
GREENS = ("4c6b34", "3c5a30", "5f7a3a", "6e7f4e", "2f4a30", "7a8a4a")
AUTUMN = ("b07a2c", "a0522c", "c09a3c", "8a6a34", "7a3a2c")


@dataclass(frozen=True)
class Town:
    """The character of a neighborhood."""

    floors: tuple[int, int]  # fewest, most
    walls: tuple[str, ...]
    materials: tuple[str, ...]
    tops: tuple[str, ...]
    gap_probability: float  # probability of an opening after a house
    shop_probability: float
    trees_per_row: float  # on average
    woods_share: float  # share of woods in the skyline


OLD_TOWN = Town(
    floors=(2, 4),
    walls=PLASTERS + BRICKS,
    materials=("plaster", "plaster", "brick"),
    tops=("gable", "gable", "flat", "mansard"),
    gap_probability=0.12,
    shop_probability=0.45,
    trees_per_row=2.0,
    woods_share=0.4,
)
CITY = Town(
    floors=(3, 7),
    walls=GREYS + BRICKS,
    materials=("panel", "panel", "plaster", "brick"),
    tops=("flat",),
    gap_probability=0.12,
    shop_probability=0.4,
    trees_per_row=2.0,
    woods_share=0.2,
)
SUBURB = Town(
    floors=(1, 2),
    walls=PLASTERS + BRICKS,
    materials=("plaster", "brick"),
    tops=("gable", "gable", "flat"),
    gap_probability=0.65,
    shop_probability=0.05,
    trees_per_row=4.5,
    woods_share=0.8,
)
BOULEVARD = Town(
    floors=(3, 5),
    walls=PLASTERS + GREYS,
    materials=("plaster", "plaster", "brick"),
    tops=("mansard", "mansard", "flat"),
    gap_probability=0.06,
    shop_probability=0.6,
    trees_per_row=5.0,
    woods_share=0.5,
)
OUTSKIRTS = Town(
    floors=(1, 5),
    walls=GREYS + PLASTERS + BRICKS,
    materials=("panel", "plaster", "brick"),
    tops=("flat", "flat", "gable"),
    gap_probability=0.4,
    shop_probability=0.25,
    trees_per_row=3.0,
    woods_share=0.6,
)
TOWNS = (OLD_TOWN, CITY, SUBURB, BOULEVARD, OUTSKIRTS)


def draw_plan(rng: Generator) -> Ground:
    """Draw the plan of a road at random, perhaps with a crossing."""
    crossing = rng.random() < 0.45
    return Ground(
        half_road=float(rng.uniform(2.8, 5.8)),
        half_crossing=float(rng.uniform(2.6, 4.2)) * crossing,
        crossing_at=float(rng.uniform(12, 34)),
        asphalt=pick(rng, ASPHALTS),
        slabs=pick(rng, SLABS),
        slab=(float(rng.uniform(0.4, 1.3)), float(rng.uniform(0.4, 1.1))),
        marked=bool(rng.random() < 0.65),
        zebra=bool(rng.random() < 0.6),
        origin=int(rng.integers(TILE)),
    )


def place_camera(rng: Generator, ground: Ground, height: int, width: int) -> View:
    """A camera on the road or the pavement. Mostly it looks down the street, sometimes askew or at the other side."""
    side = 1 if rng.random() < 0.5 else -1
    gaze = rng.choice(["along", "askew", "opposite"], p=[0.52, 0.3, 0.18])
    across = float(rng.uniform(-1, 1)) * (ground.half_road + 1.2)
    yaw = float(rng.normal(0, 0.12))
    focal = float(rng.uniform(0.62, 1.0))
    if gaze == "askew":
        yaw = side * float(rng.uniform(0.3, 0.9))
        across = -side * ground.half_road * float(rng.uniform(0, 1.2))
    elif gaze == "opposite":
        yaw = side * float(rng.uniform(1.05, math.pi / 2))
        across = -side * (ground.half_road + float(rng.uniform(2, 7)))
        focal = float(rng.uniform(0.55, 0.8))
    eye = float(rng.uniform(1.4, 2.6)) if rng.random() < 0.8 else float(rng.uniform(3.2, 5.5))
    return View(
        height=height,
        width=width,
        focal=focal * width,
        eye=eye,
        horizon=height * float(rng.uniform(0.40, 0.62)) - 0.02 * height * (eye - 2),
        roll=float(rng.normal(0, 0.022)),
        bend=float(rng.normal(0, 0.023)) / width,
        yaw=yaw,
        across=across,
        curve=float(rng.normal(0, 0.0016)) if rng.random() < 0.6 else 0.0,
    )


def furnish(canvas: Canvas, ground: Ground, rng: Generator) -> None:
    """Fill the street: houses first, then what stands before them, then the ground in between."""
    town = TOWNS[int(rng.integers(len(TOWNS)))]
    leaves = AUTUMN if rng.random() < 0.18 else GREENS
    for side in (-1, 1):
        pavement = float(rng.uniform(1.6, 4.8))
        openings = _line_houses(canvas, ground, town, rng, side, ground.half_road + pavement)
        _line_pavement(canvas, ground, town, rng, side, pavement, leaves)
        for opening in openings:
            for _ in range(int(rng.integers(1, 4))):
                spot = opening + float(rng.uniform(-3, 3))
                deep = ground.half_road + pavement + float(rng.uniform(1, 9))
                size = float(rng.choice([rng.uniform(0.9, 1.8), rng.uniform(4, 9)]))
                draw_tree(canvas, rng, spot, side * deep, size, pick(rng, leaves))
    _line_road(canvas, ground, rng)
    draw_skyline(canvas, rng, town.woods_share)
    draw_ground(canvas, ground)


def _line_houses(canvas: Canvas, ground: Ground, town: Town, rng: Generator, side: int, front: float) -> list[float]:
    """Draw the houses along one side, and return the places of the openings between them."""
    view = canvas.view
    behind_camera = abs(view.yaw) > 1 and view.across * side > 0  # the camera stands where these houses would be
    houses, openings, along = [], [], -42.0
    usual = int(rng.integers(town.floors[0], town.floors[1] + 1))
    while along < 125:
        length = float(rng.uniform(6, 17))
        setback = front + float(rng.choice([0, 0, rng.uniform(0, 2)]))
        deep = setback + float(rng.uniform(7, 14))
        first, last = along, along + length
        facade = _draw_facade(town, rng, usual)
        along = last
        if rng.random() < town.gap_probability:
            gap = float(rng.uniform(3, 11))
            openings.append(last + gap / 2)
            along += gap
        if not behind_camera and not _crosses(ground, first, last, 2.0):
            houses.append((facade, first, last, side * setback, side * deep))
    houses.sort(key=lambda house: min(abs(house[1]), abs(house[2])))
    for house in houses:
        draw_building(canvas, *house)
    return [] if behind_camera else openings


def _draw_facade(town: Town, rng: Generator, usual: int) -> Facade:
    floors = int(np.clip(usual + rng.integers(-1, 2), *town.floors))
    floor = float(rng.uniform(2.8, 3.5))
    wall = pick(rng, town.walls)
    trim = pick(rng, TRIMS) if rng.random() < 0.7 else wall * 0.75
    top = str(rng.choice(town.tops))
    return Facade(
        height=floors * floor + float(rng.uniform(0.5, 1.1)) + (MANSARD if top == "mansard" else 0.0),
        floor=floor,
        bay=float(rng.uniform(1.9, 3.8)),
        pane=(float(rng.uniform(0.32, 0.72)), float(rng.uniform(0.38, 0.56))),
        wall=wall,
        trim=trim,
        roof=pick(rng, ROOFS),
        material=str(rng.choice(town.materials)),
        top=top,
        shop=bool(rng.random() < town.shop_probability),
        tones=rng.random((16, 64), np.float32),
        origin=int(rng.integers(TILE)),
    )


def _line_pavement(
    canvas: Canvas, ground: Ground, town: Town, rng: Generator, side: int, pavement: float, leaves: tuple[str, ...]
) -> None:
    """Place the trees, poles and people of one side."""
    curb = ground.half_road
    if rng.random() < 0.75:
        at, distance = float(rng.uniform(3, 10)), float(rng.uniform(6, 14))
        row, size = curb + min(0.9, pavement * 0.35), float(rng.uniform(3.5, 8))
        for number in range(int(rng.poisson(town.trees_per_row))):
            spot = at + distance * number * (1 if number % 3 or abs(canvas.view.yaw) < 0.6 else -1)
            draw_tree(canvas, rng, spot, side * row, size * float(rng.uniform(0.8, 1.2)), pick(rng, leaves))
    start, distance = float(rng.uniform(-12, 9)), float(rng.uniform(12, 22))
    lamp = str(rng.choice(["lamp", "lantern"], p=[0.6, 0.4]))
    for number in range(4 if rng.random() < 0.55 else 0):
        draw_pole(canvas, rng, start + distance * number, side * (curb + 0.45), lamp)
    for _ in range(int(rng.poisson(1.5))):
        kind = str(rng.choice(["sign", "bollard"], p=[0.7, 0.3]))
        draw_pole(canvas, rng, float(rng.uniform(-8, 30)), side * (curb + 0.4), kind)
    if ground.half_crossing and rng.random() < 0.6:
        draw_pole(canvas, rng, ground.crossing_at - ground.half_crossing - 0.7, side * (curb + 0.5), "signal")
    for _ in range(int(rng.poisson(2.6))):
        spot = float(rng.uniform(-10, 12) if abs(canvas.view.yaw) > 0.8 else rng.uniform(5, 30))
        draw_person(canvas, rng, spot, side * (curb + float(rng.uniform(0.6, max(0.8, pavement - 0.4)))))


def _line_road(canvas: Canvas, ground: Ground, rng: Generator) -> None:
    """Draw cars at the curbs, cars that drive, cars in the crossing, and someone on the zebra."""
    for side in (-1, 1):
        filled, spot = float(rng.uniform(0.0, 0.8)), float(rng.uniform(-20, -14))
        parks = rng.random() < 0.65
        while spot < 60:
            spot += float(rng.uniform(5.6, 7.0))
            clear = abs(spot) > 5 or abs(canvas.view.across - side * ground.half_road) > 4  # not onto the camera
            if parks and rng.random() < filled and clear and not _crosses(ground, spot, spot, 3.5):
                draw_car(canvas, rng, spot, side * (ground.half_road - 1.1), side > 0, turned=False)
    for _ in range(int(rng.poisson(1.1))):
        side, spot = (1 if rng.random() < 0.5 else -1), float(rng.uniform(-9, 45))
        lane = side * max(0.9, ground.half_road * 0.5 - (1.0 if ground.half_road > 4.6 else 0.0))
        if abs(spot) > 7 or abs(lane - canvas.view.across) > 4.5:
            draw_car(canvas, rng, spot, lane, side > 0, turned=False)
    if ground.half_crossing:
        for _ in range(int(rng.poisson(0.9))):
            lane = ground.crossing_at + 0.45 * ground.half_crossing * (1 if rng.random() < 0.5 else -1)
            draw_car(canvas, rng, lane, float(rng.uniform(-9, 9)), bool(rng.random() < 0.5), turned=True)
        for _ in range(int(rng.poisson(0.7))):
            zebra = ground.crossing_at - ground.half_crossing - 2.3
            draw_person(canvas, rng, zebra, float(rng.uniform(-1, 1)) * ground.half_road)


def _crosses(ground: Ground, first: float, last: float, margin: float) -> bool:
    """Whether something from `first` to `last` along the street would stand in the crossing."""
    room = ground.half_crossing + margin
    return ground.half_crossing > 0 and first < ground.crossing_at + room and last > ground.crossing_at - room
