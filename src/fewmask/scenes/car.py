"""A car: two frusta in perspective, body and cabin, with glass, lights and wheels."""

import math

import numpy as np
from numpy.random import Generator

from fewmask.scenes.canvas import CAR, Array, Canvas, Shadow, disc, pick, rgb, stand

PAINTS = ("f2f0ea", "1b1c20", "a9adb2", "5b5f66", "8f1f24", "28487c", "2d4a3a", "c9b48a", "c8842c", "6b8fb0", "3a2f2c")
SHAPES = {  # length, height of body and roof; from and to in x of the cabin at its foot, at its roof
    "sedan": (4.6, 0.92, 1.42, (-0.40, 0.22), (-0.22, 0.06)),
    "hatch": (3.9, 0.95, 1.48, (-0.48, 0.26), (-0.38, 0.08)),
    "wagon": (4.7, 1.02, 1.68, (-0.48, 0.26), (-0.42, 0.10)),
    "van": (5.2, 1.15, 2.25, (-0.49, 0.40), (-0.48, 0.28)),
}
Face = tuple[Array, float]  # corners (4, 3): low left, low right, high right, high left; share of the sun


def draw_car(canvas: Canvas, rng: Generator, along: float, across: float, forward: bool, turned: bool) -> None:
    """Draw a car that points down or up the street, or, if `turned`, to the right or left of the street."""
    kind = str(rng.choice(list(SHAPES), p=[0.32, 0.34, 0.18, 0.16]))
    length, belt, roof, low_glass, high_glass = SHAPES[kind]
    length, width = length * float(rng.uniform(0.94, 1.06)), float(rng.uniform(1.68, 1.9)) + 0.15 * (kind == "van")
    paint, glass, hub = pick(rng, PAINTS), rgb("20262c") * float(rng.uniform(0.7, 1.5)), pick(rng, ("8d9096", "4a4c50"))
    lamps = float(rng.random() < 0.8)
    place = stand(canvas, along, across, length / 2 + 1.0)
    if place is None:
        return
    step_along, step_across = (0.0, 0.5) if turned else (0.5, 0.0)
    behind = canvas.view.world(along - step_along, across - step_across)
    ahead = canvas.view.world(along + step_along, across + step_across)
    way = np.array([ahead[0] - behind[0], 0.0, ahead[1] - behind[1]]) * (1 if forward else -1)
    way /= math.hypot(way[0], way[2])
    solid = _Solid(canvas, np.array([place.x, 0.0, place.z]), way, length, width)
    _shade_ground(canvas, solid.point(-0.3, 0.0, 0.0), solid.point(0.3, 0.0, 0.0), width, roof)

    solid.frustum((-0.46, 0.46), (-0.46, 0.46), 0.12, 0.4, 0.9, 0.9, rgb("101113"))
    body = solid.frustum((-0.5, 0.5), (-0.49, 0.48), 0.28, belt, 1.0, 0.95, paint)
    for side, face in _seen(body, "left", "right"):
        solid.patch(face, (0.0, 1.0), (0.0, 0.14), paint * 0.35)
        solid.patch(face, (0.03, 0.97), (0.62, 0.66), paint * 0.75)
        for door in (0.36, 0.62) if place.scale > 15 else ():
            solid.patch(face, (door, door + 0.006), (0.15, 0.95), paint * 0.6)
        for axle in (-0.31, 0.32):
            solid.wheel(axle, -1 if side == "left" else 1, hub)
    for end, face in _seen(body, "rear", "front"):
        light, plate = ("c01818", "d8d8d0") if end == "rear" else ("f0ecd8", "24262a")
        solid.patch(face, (0.0, 1.0), (0.0, 0.3), paint * 0.4)
        solid.patch(face, (0.36, 0.64), (0.34, 0.5), rgb(plate))
        for lamp in ((0.03, 0.2), (0.8, 0.97)):
            solid.patch(face, lamp, (0.58, 0.84), rgb(light), glow=lamps)
    cabin = solid.frustum(low_glass, high_glass, belt, roof, 0.93, 0.76, paint)
    for _, face in _seen(cabin, "left", "right"):
        for pane in ((0.06, 0.5), (0.54, 0.93)) if kind != "van" else ((0.7, 0.96),):
            solid.patch(face, pane, (0.1, 0.86), glass)
    for _, face in _seen(cabin, "rear", "front"):
        solid.patch(face, (0.07, 0.93), (0.12, 0.9), glass * 1.25)
        solid.patch(face, (0.07, 0.93), (0.55, 0.9), glass * 1.9)


def _seen(faces: dict[str, Face], *names: str) -> list[tuple[str, Face]]:
    return [(name, faces[name]) for name in names if name in faces]


def _shade_ground(canvas: Canvas, tail: Array, tip: Array, width: float, roof: float) -> None:
    start, end = (float(tail[0]), float(tail[2])), (float(tip[0]), float(tip[2]))
    canvas.shadows.append(Shadow(start, end, width * 0.62, contact=True))
    for share in (0.25, 0.55):  # two capsules at two heights make the cast shadow
        x, z = (step * roof * share for step in canvas.reach)
        canvas.shadows.append(Shadow((start[0] + x, start[1] + z), (end[0] + x, end[1] + z), width * 0.5))


class _Solid:
    """The frame of a car: x forward as a share of its length, y up in meters, w right as a share of its width."""

    def __init__(self, canvas: Canvas, center: Array, way: Array, length: float, width: float) -> None:
        self.canvas, self.center, self.depth = canvas, center, float(center[2])
        self.length, self.width = way * length, np.array([way[2], 0.0, -way[0]]) * width
        self.meter = way

    def point(self, x: float, y: float, w: float) -> Array:
        return np.asarray(self.center + x * self.length + w * self.width + (0.0, y, 0.0))

    def frustum(
        self,
        low: tuple[float, float],
        high: tuple[float, float],
        bottom: float,
        top: float,
        low_width: float,
        high_width: float,
        color: Array,
    ) -> dict[str, Face]:
        """Paint the faces that the eye sees and return them by name; `low` and `high` are (from, to) in x."""
        foot = {(x, w): self.point(low[x], bottom, w * low_width / 2) for x in (0, 1) for w in (-1, 1)}
        head = {(x, w): self.point(high[x], top, w * high_width / 2) for x in (0, 1) for w in (-1, 1)}
        edges = {
            "left": ((0, -1), (1, -1)),
            "right": ((0, 1), (1, 1)),
            "rear": ((0, -1), (0, 1)),
            "front": ((1, -1), (1, 1)),
        }
        faces = {name: np.stack([foot[a], foot[b], head[b], head[a]]) for name, (a, b) in edges.items()}
        faces["top"] = np.stack([head[0, -1], head[1, -1], head[1, 1], head[0, 1]])
        inside = (foot[0, -1] + foot[1, 1] + head[0, -1] + head[1, 1]) / 4
        eye = np.array([0.0, self.canvas.view.eye, 0.0])
        seen: dict[str, Face] = {}
        for name, corners in faces.items():
            (ax, ay, az), (bx, by, bz) = (corners[1] - corners[0]).tolist(), (corners[3] - corners[0]).tolist()
            normal = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
            middle = corners.mean(0)
            normal *= math.copysign(1 / math.sqrt(normal @ normal), float(normal @ (middle - inside)))
            if normal @ (eye - middle) > 0:
                seen[name] = (corners, max(0.0, float(normal @ np.array(self.canvas.sun))))
                self.patch(seen[name], (0.0, 1.0), (0.0, 1.0), color * (1.12 if name == "top" else 1.0))
        return seen

    def patch(
        self,
        face: Face,
        wide: tuple[float, float],
        high: tuple[float, float],
        color: Array,
        glow: float = 0.0,
    ) -> None:
        """Paint a part of a face; `wide` and `high` are shares of its width and height."""
        (low_left, low_right, high_right, high_left), lit = face
        corners = [
            (low_left * (1 - s) + low_right * s) * (1 - t) + (high_left * (1 - s) + high_right * s) * t
            for s, t in ((wide[0], high[0]), (wide[1], high[0]), (wide[1], high[1]), (wide[0], high[1]))
        ]
        self._paint(np.stack(corners), color, lit, glow)

    def wheel(self, axle: float, side: int, hub: Array) -> None:
        middle = self.point(axle, 0.33, side * 0.505)
        for radius, color in ((0.38, rgb("0c0d0e")), (0.32, rgb("1c1d20")), (0.19, hub)):
            rim = np.array(
                [middle + right * self.meter + (0.0, up, 0.0) for right, up in disc(0.0, 0.0, radius, radius, 12)]
            )
            self._paint(rim, color, 0.3, 0.0)

    def _paint(self, corners: Array, color: Array, lit: float, glow: float) -> None:
        screen = np.stack(self.canvas.view.project(corners[:, 0], corners[:, 1], corners[:, 2]), axis=1)
        self.canvas.polygon(screen, CAR, self.depth, np.clip(color, 0, 1), lit, glow)
