"""The ONNX graph of a deployed network: resizing and normalization before the core, upsampling and softmax after it.

Its input is `image`, uint8 RGB [batch 3 height width] of any size. Its outputs are `probabilities` [batch k height
width], `labels` uint8 [batch height width], and `cells`: the logits on the network's own grid, from which fewmask
blends tiles. A second input, `size`, has a default: the size that the network is trained at. Prediction in tiles gives
it, because a tile is resized with the whole image.
"""

import json
import re
from typing import Any

import numpy as np

from fewmask.data.classes import Classes
from fewmask.data.size import Resize
from fewmask.use.onnx_network import FORMAT

_OPSET = 20
_SIDES = {"y": "height", "x": "width"}
_BEFORE = """
before (uint8[batch, 3, height, width] image, int64[2] size) => (float[batch, 3, rows, columns] padded) {
  fewmask_shape = Shape <start: int = 2, end: int = 4> (image)
  fewmask_sides = Cast <to: int = 1> (fewmask_shape)
  fewmask_scaled = Mul (fewmask_sides, fewmask_factor)
  fewmask_whole = Round (fewmask_scaled)
  fewmask_some = Max (fewmask_whole, fewmask_one)
  fewmask_by_factor = Cast <to: int = 7> (fewmask_some)
  fewmask_is_fixed = Greater (fewmask_fixed, fewmask_zero)
  fewmask_trained = Where (fewmask_is_fixed, fewmask_fixed, fewmask_by_factor)
  fewmask_is_given = Greater (size, fewmask_zero)
  fewmask_target = Where (fewmask_is_given, size, fewmask_trained)
  fewmask_levels = Cast <to: int = 1> (image)
  fewmask_is_equal = Equal (fewmask_target, fewmask_shape)
  fewmask_equal_count = Cast <to: int = 7> (fewmask_is_equal)
  fewmask_both = ReduceMin <keepdims: int = 0> (fewmask_equal_count)
  fewmask_is_same = Cast <to: int = 9> (fewmask_both)
  fewmask_seen = If (fewmask_is_same) <
    then_branch = same () => (float[batch, 3, seen_height, seen_width] fewmask_unchanged) {
      fewmask_unchanged = Identity (fewmask_levels)
    },
    else_branch = resize () => (float[batch, 3, new_height, new_width] fewmask_resized) {
      fewmask_target_sides = Cast <to: int = 1> (fewmask_target)
      fewmask_scales = Div (fewmask_sides, fewmask_target_sides)
      fewmask_supports = Max (fewmask_scales, fewmask_one)
      fewmask_height, fewmask_width = Split <num_outputs: int = 2> (fewmask_sides)
      fewmask_new_height, fewmask_new_width = Split <num_outputs: int = 2> (fewmask_target_sides)
      fewmask_scale_y, fewmask_scale_x = Split <num_outputs: int = 2> (fewmask_scales)
      fewmask_support_y, fewmask_support_x = Split <num_outputs: int = 2> (fewmask_supports)
      WEIGHTS(y)
      WEIGHTS(x)
      fewmask_across_x = Transpose <perm: ints = [1, 0]> (fewmask_weights_x)
      fewmask_narrow = MatMul (fewmask_levels, fewmask_across_x)
      fewmask_narrow_up = Add (fewmask_narrow, fewmask_half)
      fewmask_narrow_levels = Floor (fewmask_narrow_up)
      fewmask_small = MatMul (fewmask_weights_y, fewmask_narrow_levels)
      fewmask_small_up = Add (fewmask_small, fewmask_half)
      fewmask_resized = Floor (fewmask_small_up)
    }>
  fewmask_centered = Sub (fewmask_seen, fewmask_mean)
  fewmask_normalized = Div (fewmask_centered, fewmask_std)
  fewmask_negative = Neg (fewmask_target)
  fewmask_missing = Mod (fewmask_negative, fewmask_stride)
  fewmask_pads = Concat <axis: int = 0> (fewmask_no_pads, fewmask_missing)
  padded = Pad (fewmask_normalized, fewmask_pads)
}
"""
_WEIGHTS = """
      fewmask_from_AXIS = Reshape (fewmask_SIDE, fewmask_scalar)
      fewmask_to_AXIS = Reshape (fewmask_new_SIDE, fewmask_scalar)
      fewmask_old_AXIS = Range (fewmask_none, fewmask_from_AXIS, fewmask_unit)
      fewmask_new_AXIS = Range (fewmask_none, fewmask_to_AXIS, fewmask_unit)
      fewmask_old_middle_AXIS = Add (fewmask_old_AXIS, fewmask_half)
      fewmask_new_middle_AXIS = Add (fewmask_new_AXIS, fewmask_half)
      fewmask_row_AXIS = Mul (fewmask_new_middle_AXIS, fewmask_scale_AXIS)
      fewmask_center_AXIS = Reshape (fewmask_row_AXIS, fewmask_column)
      fewmask_away_AXIS = Sub (fewmask_center_AXIS, fewmask_old_middle_AXIS)
      fewmask_distance_AXIS = Abs (fewmask_away_AXIS)
      fewmask_share_AXIS = Div (fewmask_distance_AXIS, fewmask_support_AXIS)
      fewmask_rest_AXIS = Sub (fewmask_unit, fewmask_share_AXIS)
      fewmask_raw_AXIS = Max (fewmask_rest_AXIS, fewmask_none)
      fewmask_total_AXIS = ReduceSum (fewmask_raw_AXIS, fewmask_last_axis)
      fewmask_weights_AXIS = Div (fewmask_raw_AXIS, fewmask_total_AXIS)
"""
"""The weights of a bilinear filter with antialiasing, as in Pillow and torch; ONNX's Resize differs at the borders."""
_AFTER = """
after (float[batch, k, cell_rows, cell_columns] cells) =>
  (float[batch, k, height, width] probabilities, uint8[batch, height, width] labels) {
  fewmask_cells_shape = Shape <start: int = 0, end: int = 2> (cells)
  fewmask_padded_shape = Shape <start: int = 2, end: int = 4> (padded)
  fewmask_padded_sizes = Concat <axis: int = 0> (fewmask_cells_shape, fewmask_padded_shape)
  fewmask_upsampled = Resize <mode: string = "linear",
    coordinate_transformation_mode: string = "align_corners"> (cells, , , fewmask_padded_sizes)
  fewmask_cut = Slice (fewmask_upsampled, fewmask_zero, fewmask_target, fewmask_axes)
  fewmask_full_sizes = Concat <axis: int = 0> (fewmask_cells_shape, fewmask_shape)
  fewmask_logits = Resize <mode: string = "linear",
    coordinate_transformation_mode: string = "pytorch_half_pixel"> (fewmask_cut, , , fewmask_full_sizes)
  probabilities = Softmax <axis: int = 1> (fewmask_logits)
  fewmask_best = ArgMax <axis: int = 1, keepdims: int = 0> (fewmask_logits)
  labels = Cast <to: int = 2> (fewmask_best)
}
"""


def whole_graph(core: Any, mean: np.ndarray, std: np.ndarray, stride: int, resize: Resize) -> Any:
    """The model (onnx.ModelProto) of a core with input `padded` and output `cells`, and what comes before and after.

    Args:
        core: the ModelProto of the core.
        mean: of each channel [3], for RGB in [0, 1].
        std: of each channel [3].
        stride: the padded sides are multiples of this.
        resize: from the size of an image to the size that the network is trained at.
    """
    from onnx import helper, numpy_helper, parser

    weights = {axis: _WEIGHTS.replace("AXIS", axis).replace("SIDE", side) for axis, side in _SIDES.items()}
    before = parser.parse_graph(re.sub(r"WEIGHTS\((\w)\)", lambda found: weights[found[1]], _BEFORE))
    after = parser.parse_graph(_AFTER)
    fixed = resize if isinstance(resize, tuple) else (0, 0)
    factor = 1.0 if resize is None or isinstance(resize, tuple) else resize
    constants = {
        "size": np.zeros(2, np.int64),
        "fewmask_factor": np.array([factor, factor], np.float32),
        "fewmask_fixed": np.array(fixed, np.int64),
        "fewmask_zero": np.zeros(2, np.int64),
        "fewmask_one": np.ones(1, np.float32),
        "fewmask_none": np.array(0, np.float32),
        "fewmask_unit": np.array(1, np.float32),
        "fewmask_half": np.array(0.5, np.float32),
        "fewmask_scalar": np.zeros(0, np.int64),
        "fewmask_column": np.array([-1, 1], np.int64),
        "fewmask_mean": 255 * mean.reshape(1, 3, 1, 1).astype(np.float32),
        "fewmask_std": 255 * std.reshape(1, 3, 1, 1).astype(np.float32),
        "fewmask_stride": np.array([stride, stride], np.int64),
        "fewmask_no_pads": np.zeros(6, np.int64),
        "fewmask_last_axis": np.array([-1], np.int64),
        "fewmask_axes": np.array([2, 3], np.int64),
    }
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(
        [*before.node, *core.graph.node, *after.node],
        "fewmask",
        [before.input[0], before.input[1]],
        [*after.output, *core.graph.output],
        [*core.graph.initializer, *tensors],
    )
    return helper.make_model(
        graph, opset_imports=core.opset_import, functions=core.functions, producer_name="fewmask", ir_version=10
    )


def describe(model: Any, classes: Classes, stride: int, cells_per_stride: int | None, resize: Resize) -> None:
    """Writes into the metadata what prediction needs, and what other programs may want to know."""
    from onnx import helper

    facts = {
        "fewmask_format": FORMAT,
        "classes": classes.model_dump_json(),
        "names": json.dumps(classes.names),
        "colors": json.dumps(classes.colors),
        "values": json.dumps(classes.values),
        "resize": json.dumps(resize),
        "stride": str(stride),
        "cells_per_stride": json.dumps(cells_per_stride),
    }
    helper.set_model_props(model, facts)


def opset() -> int:
    """The version of ONNX's operators that the graph is written in."""
    return _OPSET
