"""Finds the lists of a fold where its run folder is now. They lie beside it, so they moved with it.

The recipe of a fold names its lists by absolute paths, like all files: OUT/folds/learned_1.txt for the runs OUT/folds/1
and OUT/folds/1/baseline. So the fold goes on from any working directory. After OUT was moved these paths are those of
the old place.
"""

from pathlib import Path

from fewmask.recipe import Recipe

FOLDS = "folds"
"""The name of the folder that holds the lists and the runs of all folds."""


def with_lists_beside(recipe: Recipe, run: Path) -> Recipe:
    """The recipe of the run folder `run`; a list in a folder `folds` is taken from the one that the run is in now."""
    found: dict[str, str | Path] = {}
    for key in ("labels", "held_out"):
        kept = getattr(recipe.data, key)
        if isinstance(kept, str | Path) and Path(kept).parent.name == FOLDS:
            beside = [folder / Path(kept).name for folder in run.resolve().parents[:2] if folder.name == FOLDS]
            for path in filter(Path.is_file, beside):
                found[key] = type(kept)(path)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=found)}) if found else recipe
