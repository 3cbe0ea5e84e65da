"""From painted planes to a picture: the light of a style, the sky, haze, and then the camera that takes it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from fewmask.scenes.canvas import SKY, TILE, Array, Canvas, noise, rgb

STYLES = ("day", "dusk", "fog", "night")


@dataclass(frozen=True)
class Light:
    """The light of one hour; colors are linear, not display values."""

    sun: tuple[float, float, float]  # unit vector towards it
    sunlight: Array
    skylight: Array
    zenith: Array
    rim: Array  # sky at the horizon; far things fade into it
    visibility: float  # meters at which a thing keeps two fifths of its contrast
    clouds: float  # share of the sky
    lamps: float  # strength of lit windows and lamps
    mean: float  # brightness that the camera aims at, display value
    grain: float  # standard deviation of the sensor noise, display value
    contrast: float


def draw_light(style: str, rng: Generator) -> Light:
    """One hour of a style; every style takes the same draws, so that one seed gives related hours."""
    azimuth, height, haze, cover, bright, noisy = rng.random(6).tolist()
    tint = 1 + rng.uniform(-0.05, 0.05, 3).astype(np.float32)
    if style == "dusk":
        return Light(
            sun=_direction(azimuth, 0.06 + 0.2 * height),
            sunlight=(1 - cover) * np.array([1.5, 0.62, 0.26], np.float32),
            skylight=tint * np.array([0.20, 0.22, 0.36], np.float32),
            zenith=0.9 * _blend("1c2a50", "4a4a78", height),
            rim=(0.5 + 0.5 * height) * _blend("e08a4c", "c8848c", cover),
            visibility=250.0,
            clouds=0.8 * cover,
            lamps=1.0,
            mean=0.34 + 0.09 * bright,
            grain=0.012 + 0.018 * noisy,
            contrast=1.05,
        )
    if style == "fog":
        fog = tint * _blend("d2d6da", "c4c6c6", cover)
        return Light(
            sun=_direction(azimuth, 0.5),
            sunlight=np.zeros(3, np.float32),
            skylight=tint * np.array([0.72, 0.75, 0.79], np.float32),
            zenith=fog,
            rim=fog,
            visibility=20 + 34 * haze,
            clouds=0.0,
            lamps=0.25,
            mean=0.6 + 0.1 * bright,
            grain=0.004 + 0.01 * noisy,
            contrast=0.9,
        )
    if style == "night":
        return Light(
            sun=_direction(azimuth, 0.35 + 0.75 * height),
            sunlight=np.zeros(3, np.float32),
            skylight=tint * np.array([0.10, 0.115, 0.155], np.float32),
            zenith=_blend("060912", "181d2c", cover),
            rim=_blend("101626", "4a4038", cover),  # the clouds over a town throw back its light
            visibility=160.0,
            clouds=0.5 * cover,
            lamps=1.1,
            mean=0.21 + 0.06 * bright,
            grain=0.02 + 0.014 * noisy,
            contrast=0.95,
        )
    return Light(
        sun=_direction(azimuth, 0.35 + 0.75 * height),
        sunlight=1.7 * (1 - cover if cover > 0.55 else 1.0) * _blend("fff0d8", "ffdca8", (1 - height) ** 2),
        skylight=0.9 * tint * _blend("a8bcd8", "c8ccd2", cover),
        zenith=_blend("5088c8", "a4aeb8", cover**2),
        rim=_blend("c8dcea", "d4d6d8", cover),
        visibility=200 + 900 * haze,
        clouds=cover,
        lamps=0.0,
        mean=0.46 + 0.12 * bright,
        grain=0.003 + 0.013 * noisy,
        contrast=1.0,
    )


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
    sensor = rng.standard_normal((height, width, 3), np.float32)
    sensor = 0.75 * sensor + rng.standard_normal((height, width, 1), np.float32)  # a part is common to all channels
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
    return np.asarray(color + (cloud - color) * amount)


def _soften(picture: Array, step: int) -> Array:
    """A [1 2 1] filter with holes, both ways, edges repeated."""
    for axis in (0, 1):
        places = np.arange(picture.shape[axis])
        before = np.take(picture, np.maximum(places - step, 0), axis)
        after = np.take(picture, np.minimum(places + step, places[-1]), axis)
        picture = np.asarray((before + 2 * picture + after) * np.float32(0.25))
    return picture


def _direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector towards `azimuth`, in turns from straight ahead, and `elevation`, in radians over the horizon."""
    turn, level = math.tau * azimuth, math.cos(elevation)
    return level * math.sin(turn), math.sin(elevation), level * math.cos(turn)


def _blend(one: str, other: str, share: float) -> Array:
    """Linear light between two display colors."""
    display = rgb(one) + (rgb(other) - rgb(one)) * np.float32(share)
    return np.asarray(display * display)
