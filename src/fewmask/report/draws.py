"""Runs of one recipe that differ in their seed or in their masks: their mean, and its interval over the runs."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fewmask.recipe import changed_settings
from fewmask.report.bootstrap import Interval
from fewmask.report.entries import Entry, titled
from fewmask.study.statistics import Estimate, estimate

_DRAWN = {"training.seed", "data.split_seed", "data.labels"}
_FREE = {"training.device", "training.log_every", "training.checkpoint_every", "data.workers", "data.cache"}
"""Settings that may differ, because they change nothing that is learned."""


class Draw(NamedTuple):
    """A run of the first run's recipe, and its baseline, which has the same seed and masks; None without one."""

    run: Entry
    baseline: Entry | None


class DrawRow(NamedTuple):
    """The scores of a draw, in percent and points."""

    title: str
    seed: int
    masks: str
    score: float
    baseline: float | None

    @property
    def gain(self) -> float | None:
        """The score minus the baseline's."""
        return None if self.baseline is None else self.score - self.baseline


class OverRuns(NamedTuple):
    """The mean over the runs of one recipe.

    Attributes:
        rows: a row for every run.
        score: the mean of the mIoU in percent, and its 95 % interval by Student's t.
        gain: the mean difference to the baseline, of the runs that have one; None if fewer than two have.
        pairs: the number of these runs.
    """

    rows: list[DrawRow]
    score: Interval
    gain: Interval | None
    pairs: int


def draws_of(entries: Sequence[Entry]) -> list[Draw]:
    """The first run and those of the others that differ from it in seed or masks alone, each with its baseline.

    The baseline is the one in the folder of the run, or one of the entries with the same seed and masks.
    """
    runs = [entries[0]]
    for entry in entries[1:]:
        if all(_is_another_draw(entry, run) for run in runs):
            runs.append(entry)
    rest = [entry for entry in entries if entry not in runs]
    return [Draw(run, run.own_baseline or _baseline_among(rest, run)) for run in runs]


def without_other_draws(entries: Sequence[Entry], draws: Sequence[Draw]) -> list[Entry]:
    """The entries that the page shows in full: the first run, its baseline, and what is no further draw of them."""
    if len(draws) == 1:
        return list(entries)
    baseline = next((entry for entry in entries if draws[0].baseline and _is_same(entry, draws[0].baseline)), None)
    others = [each for draw in draws for each in draw if each is not None]
    rest = [entry for entry in entries if not any(_is_same(entry, other) for other in others)]
    return titled([entries[0], *([baseline] if baseline else []), *rest])


def _is_same(entry: Entry, other: Entry) -> bool:
    return entry.model is other.model


def over_runs(draws: Sequence[Draw], score_of: Callable[[Entry], float]) -> OverRuns | None:
    """The mean over the draws; None for a single one. `score_of` gives the mIoU of a run in [0, 1]."""
    if len(draws) < 2:
        return None
    rows = [
        DrawRow(
            str(draw.run.run.path),
            draw.run.recipe.training.seed,
            draw.run.masks,
            100 * score_of(draw.run),
            None if draw.baseline is None else 100 * score_of(draw.baseline),
        )
        for draw in draws
    ]
    gains = [row.gain for row in rows if row.gain is not None]
    gain = _interval(estimate(gains)) if len(gains) > 1 else None
    return OverRuns(rows, _interval(estimate([row.score for row in rows])), gain, len(gains))


def _is_another_draw(entry: Entry, of: Entry) -> bool:
    """Whether both have one recipe, but for the seed and the masks, of which they have as many."""
    changed = changed_settings(of.recipe, entry.recipe).keys()
    same_number = len(entry.run.labeled_names()) == len(of.run.labeled_names())
    return changed <= _DRAWN | _FREE and bool(changed & _DRAWN) and same_number


def _baseline_among(entries: Iterable[Entry], run: Entry) -> Entry | None:
    seed = run.recipe.training.seed
    return next((each for each in entries if each.is_baseline_of(run) and each.recipe.training.seed == seed), None)


def _interval(found: Estimate) -> Interval:
    return Interval(found.mean, found.low, found.high)
