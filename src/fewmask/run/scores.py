"""scores_SPLIT.json: the scores of a finished run on a split of its own data."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fewmask.data.folder import Sample
from fewmask.errors import UserError
from fewmask.run.atomic import write_text
from fewmask.run.files import damaged, read_text
from fewmask.run.folder import RunFolder
from fewmask.run.standing import still_holds


def write_scores(run: RunFolder, split: str, scores: Mapping[str, Any]) -> None:
    """Keeps scores so that `read_scores` can read them; raises OSError if they cannot be written."""
    write_text(run.scores_file(split), json.dumps(scores, indent=2) + "\n")


def standing_scores(run: RunFolder, split: str, samples: Sequence[Sample]) -> dict[str, Any] | None:
    """The scores that a run keeps, if they are of these samples with masks and nothing has changed since; else None.

    Scores that cannot be read are None too, because they can be had anew.
    """
    try:
        scores = read_scores(run, split)
    except UserError:
        return None
    with_masks = [sample for sample in samples if sample.mask is not None]
    is_whole = scores.get("images") == len(with_masks)
    return scores if is_whole and still_holds(run.scores_file(split), run, with_masks) else None


def read_scores(run: RunFolder, split: str) -> dict[str, Any]:
    """The scores of a run on a split, as `Model.evaluate` returned them.

    Raises:
        UserError: the scores are lost or damaged, or the run was never scored on the split.
    """
    path = run.scores_file(split)
    try:
        scores = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None
    if not isinstance(scores, dict) or not {"miou", "per_class"} <= scores.keys():
        raise damaged(path, ValueError("it holds no scores"))
    if "networks" not in scores:  # an old run has these two networks at most
        scores["networks"] = [name for name in ("student", "teacher") if scores.get(name)]
    return scores
