"""From a recipe to a trained, scored model in a run folder."""
