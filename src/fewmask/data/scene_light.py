"""From painted planes to a picture: the light of a style, the sky, haze, and then the camera that takes it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from fewmask.data.scene_canvas import SKY, TILE, Array, Canvas, Point, noise, rgb

STYLES = ("day", "dusk", "fog")


@dataclass(frozen=True)
class Light:
    """The light of one hour; colors are linear, not display values."""

    sun: Point  # unit vector towards it
    sunlight: Array
    skylight: Array
    zenith: Array
    rim: Array  # sky at the horizon; far things fade into it
    visibility: float  # meters until half of a thing's contrast is lost
    clouds: float  # share of the sky
    lamps: float  # strength of lit windows and lamps
    mean: float  # brightness that the camera aims at, display value
    grain: float  # standard deviation of the sensor noise, display value
    contrast: float


def draw_light(style: str, rng: Generator) -> Light:
    """One hour of a style; every style takes the same draws, so the same seed gives related hours."""
    azimuth, height, haze, cover, bright, noisy = rng.random(6).tolist()
    tint = 1 + 0.05 * rng.uniform(-1, 1, 3).astype(np.float32)
    if style == "dusk":
        elevation, sunshine = 0.06 + 0.2 * height, 1 - cover
        cover *= 0.8
        sunlight = sunshine * np.array([1.5, 0.62, 0.26], np.float32)
        skylight = np.array([0.20, 0.22, 0.36], np.float32) * tint
        zenith = _mix(rgb("1c2a50"), rgb("4a4a78"), height) ** 2 * 0.9
        rim = _mix(rgb("e08a4c"), rgb("c8848c"), cover) ** 2 * (0.5 + 0.5 * height)
        mean, grain, lamps, visibility, contrast = 0.34 + 0.09 * bright, 0.012 + 0.018 * noisy, 1.0, 250.0, 1.05
    elif style == "fog":
        elevation, sunlight = 0.5, np.zeros(3, np.float32)
        cover *= 0.2  # clouds do not show
        skylight = np.array([0.72, 0.75, 0.79], np.float32) * tint
        rim = zenith = _mix(rgb("d0d4d8"), rgb("c4c6c6"), cover) ** 2 * tint
        mean, grain, lamps, visibility, contrast = (
            0.55 + 0.1 * bright,
            0.012 + 0.012 * noisy,
            0.25,
            14 + 30 * haze,
            0.85,
        )
    else:
        elevation, sunshine = 0.35 + 0.75 * height, (1 - cover) if cover > 0.55 else 1.0
        sunlight = 1.7 * sunshine * _mix(rgb("fff0d8"), rgb("ffdca8"), (1 - height) ** 2) ** 2
        skylight = _mix(rgb("a8bcd8"), rgb("c8ccd2"), cover) ** 2 * 0.9 * tint
        zenith = _mix(rgb("5088c8"), rgb("a4aeb8"), cover**2) ** 2
        rim = _mix(rgb("c8dcea"), rgb("d4d6d8"), cover) ** 2
        mean, grain, lamps, visibility, contrast = (
            0.46 + 0.12 * bright,
            0.003 + 0.013 * noisy,
            0.0,
            200 + 900 * haze,
            1.0,
        )
    turn = math.tau * azimuth
    level = math.cos(elevation)
    sun = (level * math.sin(turn), math.sin(elevation), level * math.cos(turn))
    return Light(sun, sunlight, skylight, zenith, rim, visibility, cover, lamps, mean, grain, contrast)


def expose(canvas: Canvas, light: Light, rng: Generator) -> Array:
    """Linear light (h, w, 3) that falls on every pixel of the canvas; the sky is painted here."""
    albedo = canvas.color * canvas.color
    radiance = albedo * (light.skylight + canvas.lit[:, None] * light.sunlight)
    if light.lamps:
        on = np.nonzero(canvas.glow)[0]
        warm = np.array([1.0, 0.66, 0.3], np.float32)
        radiance[on] += (light.lamps * canvas.glow[on])[:, None] * (0.8 * albedo[on] + 0.5 * warm)
    sky = np.nonzero(np.isinf(canvas.depth))[0]
    distance = canvas.depth / np.float32(light.visibility)
    veil = 1 - 1 / (1 + distance + 0.5 * distance * distance)
    veil[sky] = 0
    radiance += (light.rim - radiance) * veil[:, None]
    canvas.thing[sky] = SKY
    radiance[sky] = _sky(canvas, light, rng, sky)
    return radiance.reshape(canvas.view.height, canvas.view.width, 3)


def photograph(radiance: Array, light: Light, rng: Generator) -> Array:
    """A camera's picture (h, w, 3) in [0, 1]: bloom, vignette, exposure, white balance, tone, blur and noise."""
    height, width, _ = radiance.shape
    if light.lamps:
        halo = np.maximum(radiance - 0.7, 0)
        for step in (1, 2, 4, 6):
            halo = _soften(halo, step)
        radiance = radiance + 0.7 * halo
    rows, columns = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    vignette = 1 - float(rng.uniform(0, 0.32)) * (rows * rows + columns * columns) / 2
    warmth, green = float(rng.uniform(-0.13, 0.13)), float(rng.uniform(-0.03, 0.03))
    balance = np.array([1 + warmth, 1 + green, 1 - warmth], np.float32)
    middle = light.mean * light.mean / float(np.minimum(radiance, 1.5).mean())
    linear = radiance * vignette[..., None] * balance * (middle * float(rng.uniform(0.8, 1.25)))
    picture = np.sqrt(linear / (1 + 0.18 * linear * linear))
    contrast = light.contrast * float(rng.uniform(0.85, 1.15))
    picture = 0.42 + (picture - 0.42) * contrast
    blur = float(rng.uniform(0, 0.75)) ** 2
    picture += blur * (_soften(picture, 1) - picture)
    sensor = rng.standard_normal((height, width, 3), np.float32) * 0.75 + rng.standard_normal(
        (height, width, 1), np.float32
    )
    return np.clip(picture + light.grain * sensor, 0, 1)


def _sky(canvas: Canvas, light: Light, rng: Generator, pixels: Array) -> Array:
    view = canvas.view
    column, row = canvas.centers(pixels)
    side, rise = (column - view.width / 2) / view.focal, np.maximum(view.horizon_at(column) - row, 0) / view.focal
    blend = rise / (rise + 0.28)
    color = light.rim + (light.zenith - light.rim) * (1.2 * blend)[:, None]
    if light.sun[2] > 0 and light.sunlight.any():
        off_side, off_rise = side - light.sun[0] / light.sun[2], rise - light.sun[1] / light.sun[2]
        color += light.sunlight * (0.06 / (0.08 + off_side * off_side + off_rise * off_rise))[:, None]
    origin, flat = rng.integers(TILE, size=2), 1 / (rise + 0.22)
    billow = noise(side * flat * 70 + origin[0], flat * 120 + origin[1])
    billow += 0.5 * noise(side * flat * 210 + origin[1], flat * 300 + origin[0])
    amount = np.clip((billow + 1.5 * light.clouds - 0.75) * 1.6, 0, 1)[:, None] * 0.85
    bright = 0.35 * light.skylight + 0.5 * light.sunlight + 0.5 * light.rim
    cloud = bright * (0.95 - 0.3 * np.clip(billow, 0, 1) * light.clouds)[:, None]
    return color + (cloud - color) * amount


def _soften(picture: Array, step: int) -> Array:
    """A [1 2 1] filter with holes, both ways, edges repeated."""
    for axis in (0, 1):
        size = picture.shape[axis]
        before = np.take(picture, np.maximum(np.arange(size) - step, 0), axis)
        after = np.take(picture, np.minimum(np.arange(size) + step, size - 1), axis)
        picture = (before + 2 * picture + after) * np.float32(0.25)
    return picture


def _mix(one: Array, other: Array, share: float) -> Array:
    return one + (other - one) * np.float32(share)
