"""A recipe holds the data, net, method and training of one run; it is read from YAML, checked, and written as YAML."""

from fewmask.recipe.blocks import DataConfig, Recipe, SourceConfig, TrainingConfig, make_method_config
from fewmask.recipe.catalog import all_blocks, blocks_of
from fewmask.recipe.parse import (
    changed_settings,
    make_recipe,
    parse_settings,
    read_recipe,
    recipe_for,
    recipe_yaml,
    with_absolute_paths,
)

__all__ = [
    "DataConfig",
    "Recipe",
    "SourceConfig",
    "TrainingConfig",
    "all_blocks",
    "blocks_of",
    "changed_settings",
    "make_method_config",
    "make_recipe",
    "parse_settings",
    "read_recipe",
    "recipe_for",
    "recipe_yaml",
    "with_absolute_paths",
]
