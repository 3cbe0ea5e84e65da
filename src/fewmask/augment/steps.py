"""A view is described by a list of steps; this file defines a step and takes the steps of a list in order."""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch

from fewmask.augment.geometry import GeometricStep, Geometry
from fewmask.augment.view import View

Step = Callable[[View], View]
"""One change of a view, drawn anew for each image at every call, on the device and without a host sync. A step returns
a new view and leaves the given view as it is."""


@torch.no_grad()
def take(steps: Sequence[Step], view: View) -> View:
    """The view after these steps. Geometric steps in a row move pixels once, by one sampling."""
    for moves_pixels, adjacent in groupby(steps, key=lambda step: isinstance(step, GeometricStep)):
        if moves_pixels:
            view = Geometry(tuple(step for step in adjacent if isinstance(step, GeometricStep)))(view)
        else:
            for step in adjacent:
                view = step(view)
    return view
