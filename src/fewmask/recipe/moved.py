"""Settings that stood elsewhere in earlier recipes, so that the recipes of old runs can still be read."""

from typing import Any

_MOVED = {"attention_rate": "method", "alarm_excess": "method"}
"""Keys that stood in the block `training`, with the block that has them now."""


def with_moved_settings(tree: dict[str, Any], known: dict[str, set[str]]) -> dict[str, Any]:
    """The blocks of a recipe with every such key in its new place. A key that its new block does not know is dropped.

    Args:
        tree: blocks of settings by key.
        known: the keys that a block may have.
    """
    training = tree.get("training")
    if not isinstance(training, dict) or not training.keys() & _MOVED.keys():
        return tree
    tree = tree | {"training": {key: value for key, value in training.items() if key not in _MOVED}}
    for key, block in _MOVED.items():
        if training.get(key) is not None and key in known[block]:
            tree[block] = {key: training[key]} | tree[block]
    return tree
