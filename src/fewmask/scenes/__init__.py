"""Procedural street scenes with exact masks: the data of the demo, the tests and the benchmarks, made from a seed."""

from fewmask.scenes.scene import SCENE_CLASSES, SCENE_COLORS, STYLES, draw_scene, write_scenes

__all__ = ["SCENE_CLASSES", "SCENE_COLORS", "STYLES", "draw_scene", "write_scenes"]
