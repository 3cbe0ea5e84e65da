"""Every setting of a recipe: its path, its default, and its purpose. `fewmask settings` prints a stored copy."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast, get_args, get_origin

import yaml

from fewmask.methods import DEFAULT, METHODS, ContrastConfig
from fewmask.models.build import NetConfig
from fewmask.recipe.blocks import DataConfig, SourceConfig, TrainingConfig, method_named
from fewmask.settings import Settings


class Setting(NamedTuple):
    """One setting. `text` is `key.path=default`, as `--set` takes it; for a block or without a default, the path."""

    text: str
    meaning: str


class Block(NamedTuple):
    """The settings that a recipe has under one key."""

    key: str
    meaning: str
    settings: list[Setting]


def blocks_of(method: str) -> list[Block]:
    """All settings of a recipe with this method, block by block.

    Raises:
        UserError: there is no such method.
    """
    kind = method_named(method)
    config = kind.Config
    blocks: dict[str, type[Settings]] = {"data": DataConfig, "net": NetConfig, "method": config, "source": SourceConfig}
    if kind.needs(config.model_construct(name=method)).num_learners == 1:  # the contrast pre-trains one learner
        blocks["pretrain"] = ContrastConfig
    blocks["training"] = TrainingConfig
    return [
        Block(key, _joined(block.__doc__), list(_settings(f"{key}.", block.model_construct())))
        for key, block in blocks.items()
    ]


def all_blocks() -> dict[str, Any]:
    """The settings of a recipe with every method, for a JSON file.

    `default` is the name of the default method. `shared` holds the blocks that do not depend on the method, and
    `methods` holds for every method the keys of its recipe's blocks, in order, and its own block.
    """
    shared: dict[str, Any] = {}
    methods: dict[str, Any] = {}
    for kind in METHODS:
        blocks = {block.key: _plain(block) for block in blocks_of(kind.name)}
        methods[kind.name] = {"keys": list(blocks), "method": blocks.pop("method")}
        shared |= blocks
    return {"default": DEFAULT, "shared": shared, "methods": methods}


def _plain(block: Block) -> dict[str, Any]:
    return {"meaning": block.meaning, "settings": {setting.text: setting.meaning for setting in block.settings}}


def _settings(prefix: str, block: Settings) -> Iterator[Setting]:
    """The settings of a block with its defaults. The settings of an inner block follow the inner block."""
    texts = _texts_below_fields(type(block))
    for name, field in type(block).model_fields.items():
        path, meaning = prefix + name, _joined(f"{texts.get(name, '')} {_choices(field.annotation)}")
        if field.is_required():
            yield Setting(path, meaning)
            continue
        default = getattr(block, name)
        if isinstance(default, Settings):
            yield Setting(path, meaning)
            yield from _settings(f"{path}.", default)
        else:
            yield Setting(f"{path}={_as_yaml(default)}", meaning)


def _texts_below_fields(block: type[Settings]) -> dict[str, str]:
    """The texts below the fields of the class and of its bases, by field.

    pydantic can keep these texts, but that takes 0.3 s at every start.
    """
    texts = {}
    for each in reversed(block.__mro__):
        if issubclass(each, Settings):
            (definition,) = ast.parse(inspect.getsource(each)).body
            for field, below in pairwise(cast(ast.ClassDef, definition).body):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        texts[name] = text
    return texts


def _choices(annotation: Any) -> str:
    """The words that a field can take, if it takes one of a few words or a list of them; otherwise empty."""
    if get_origin(annotation) is not Literal:
        return "".join(_choices(part) for part in get_args(annotation))
    words = [str(word) for word in get_args(annotation)]
    return f"({', '.join(words)})" if len(words) > 1 else ""


def _as_yaml(value: object) -> str:
    """The value as YAML without spaces, because a shell would cut it at a space."""
    plain = list(value) if isinstance(value, tuple | frozenset) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True)
    return text.removesuffix("...\n").strip().replace(", ", ",")


def _joined(text: str | None) -> str:
    """The text on one line, with `null` for None, because that is its name in YAML."""
    return " ".join((text or "").split()).replace("None:", "null:")
