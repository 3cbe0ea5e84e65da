"""Reads YAML of a person or a stranger: one error for every mistake, and no text that grows when it is read.

An alias in YAML stands for all that its anchor holds. A few lines of aliases of aliases so stand for more than any
memory has.
"""

from typing import Any

import yaml

from fewmask.errors import one_line

_MOST_VALUES = 100_000
"""The number of values that a text may stand for, with all its aliases written out."""


_DEEPEST = 50
"""The number of lists and mappings that may lie in each other."""


class YamlError(ValueError):
    """The text is no YAML; the message says in one line why, and where."""


def parse_yaml(text: str) -> Any:
    """The value that a YAML text stands for: None, bool, numbers, text, dates, lists and mappings of these.

    Raises:
        YamlError: the text is no YAML, or it holds a value that YAML cannot read, such as the date 2024-02-30.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _size(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except YamlError:
        raise
    except Exception as error:  # for a value that only looks like a date or a number, the reader raises nearly anything
        raise YamlError(one_line(error) or type(error).__name__) from None


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes as the library does, to a certain depth."""
        if self.depth > _DEEPEST:
            raise YamlError("it is nested too deeply")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of values that a node stands for, by the id of every node that was counted already."""
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1  # until it is counted: a node that holds itself has no end
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    if known[id(node)] > _MOST_VALUES:
        raise YamlError(f"it stands for more than {_MOST_VALUES} values")
    return known[id(node)]
