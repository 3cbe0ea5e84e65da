"""Builds the method of a run, with newly initialized weights."""

import torch

from fewmask.methods import Method, Pretraining
from fewmask.ops.draw import Purpose, seed_at
from fewmask.recipe import Recipe
from fewmask.training.prepare import TrainingData
from fewmask.use.device import enough_memory


def new_method(recipe: Recipe, data: TrainingData) -> Method:
    """The method with newly initialized weights; equal recipes give equal weights."""
    torch.manual_seed(seed_at(Purpose.WEIGHTS, recipe.training.seed))
    method = recipe.method_type(recipe.method, data.tools(recipe))  # type: ignore[call-arg, arg-type]
    if recipe.pretrain is not None:
        method.prelude = Pretraining(recipe.pretrain, method.student.feature_dim, len(data.classes))
    return method


@enough_memory("Free it, or take a smaller network, or smaller sizes in the settings of the method.")
def build_method(recipe: Recipe, data: TrainingData) -> Method:
    """The same; raises UserError if the memory is full."""
    return new_method(recipe, data)
