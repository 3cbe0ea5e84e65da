"""The alarm for pseudo-labels that collapse: a class takes them over, or vanishes from them."""

from fewmask.methods.base import Alarm
from fewmask.models.frequency import ClassFrequency
from fewmask.shapes import Labels, PerClass, RowClasses

EXCESS = "pseudo_excess"
"""The curve of every class's share among the pseudo-labels, divided by its share among the labels."""

_LOST = 0.02
"""A class with less than this share of its labeled share has vanished from the pseudo-labels."""


def collapse_alarm(excess: float = 8.0) -> Alarm:
    """Watches `pseudo_excess`: a class with more than `excess` times its labeled share has taken over."""
    labeled = "its labeled share among the pseudo-labels"
    below, above = f"has shrunk to {{value:.3f}} of {labeled}", f"takes {{value:.1f}} times {labeled}"
    return Alarm(EXCESS, _LOST, excess, f"class {{name}} {below}", f"class {{name}} {above}")


def excess_of(pseudo_labels: Labels | RowClasses, frequency: ClassFrequency) -> PerClass:
    """Counts the pseudo-labels of a step, and returns the curve; `frequency` counts the labels elsewhere."""
    frequency.observe_pseudo(pseudo_labels)
    return frequency.excess()
