"""Procedural street scenes with exact masks, made from a seed: the data of the demo, the tests and the benchmarks."""

from fewmask.scenes.scene import SCENE_CLASSES, SCENE_COLORS, STYLES, draw_scene, write_scenes

__all__ = ["SCENE_CLASSES", "SCENE_COLORS", "STYLES", "draw_scene", "write_scenes"]
