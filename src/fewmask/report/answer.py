"""The answer that a report opens with: the score with its interval, and whether the unlabeled images helped."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fewmask.report.bootstrap import RESAMPLES, Interval, Intervals
from fewmask.report.draws import OverRuns
from fewmask.report.entries import Entry
from fewmask.run.validation import selected_val_score

_FEW_IMAGES = 20


class ClassGain(NamedTuple):
    """A class, and what it gained over the baseline, in points."""

    name: str
    gain: Interval


class Answer(NamedTuple):
    """The first thing that a reader sees.

    Attributes:
        sentence: the whole answer.
        headline: the mIoU in percent: of the run, or the mean over several runs of its recipe.
        score: the mIoU of the run in percent.
        gain: the gain of the mIoU over the run that it is compared with, in points; None without one.
        against: the title of that run.
        gained: classes whose interval is above 0, the largest gain first; `lost` and `unclear` alike.
        caveats: what a reader must know before quoting the score.
    """

    sentence: str
    headline: float
    score: Interval
    gain: Interval | None
    against: str
    gained: list[ClassGain]
    lost: list[ClassGain]
    unclear: list[ClassGain]
    caveats: list[str]


def answer(
    entries: Sequence[Entry],
    names: Sequence[str],
    split: str,
    num_images: int,
    scores: Intervals,
    gains: Intervals | None,
    mean: OverRuns | None,
) -> Answer:
    """The answer for the first entry.

    Args:
        entries: the runs that the page shows.
        names: those of the classes.
        split: the scored split.
        num_images: how many images of it were scored.
        scores: of the first entry, in [0, 1].
        gains: over the second entry, in [0, 1]; None without one.
        mean: over several runs of the first entry's recipe; None for one run.
    """
    score = in_percent(scores.miou)
    gain = None if gains is None else in_percent(gains.miou)
    against = "" if gains is None else entries[1].title
    classes = [
        ClassGain(name, in_percent(found))
        for name, found in zip(names, [] if gains is None else gains.per_class, strict=False)
        if not np.isnan(found.value)
    ]
    by_gain = sorted(classes, key=lambda each: -each.gain.value)
    return Answer(
        _sentence(entries, split, score, gain) if mean is None else _sentence_of_runs(entries, split, mean, gain),
        score.value if mean is None else mean.score.value,
        score,
        gain,
        against,
        [each for each in by_gain if each.gain.verdict == "gained"],
        [each for each in reversed(by_gain) if each.gain.verdict == "lost"],
        [each for each in by_gain if each.gain.verdict == "unclear"],
        _caveats(entries, names, split, num_images, scores, mean),
    )


def _sentence(entries: Sequence[Entry], split: str, score: Interval, gain: Interval | None) -> str:
    first = entries[0]
    text = f"{first.title} reaches {score.value:.1f} % mIoU on {split}{_interval(score)}"
    return text + _gained(entries, gain, "")


def _sentence_of_runs(entries: Sequence[Entry], split: str, mean: OverRuns, gain: Interval | None) -> str:
    """The sentence about several runs; the gain is that of the first run where too few runs have a baseline."""
    count, name = len(mean.rows), entries[0].recipe.method.name
    text = f"{name} reaches {mean.score.value:.1f} % mIoU on {split}, the mean of {count} runs{_interval(mean.score)}"
    if mean.gain is None:
        return text + _gained(entries, gain, ", in the first run")
    of = "" if mean.pairs == count else f", the mean of {mean.pairs} runs"
    return text + _gained(entries, mean.gain, of)


def _gained(entries: Sequence[Entry], gain: Interval | None, of: str) -> str:
    """The end of the sentence: what the unlabeled images gave."""
    if gain is not None:
        against = entries[1].title
        return f", and {_what(entries)} {_effect(gain)}: {_points(gain)} against {against}{of}{_interval(gain)}."
    if not entries[0].recipe.needs.unlabeled:
        return "."
    return "; what the unlabeled images gave is not known, because there is no baseline to compare with."


def in_percent(found: Interval) -> Interval:
    """The interval times 100."""
    return Interval(*(100 * value for value in found))


def _what(entries: Sequence[Entry]) -> str:
    """What the first run has and the second one lacks, in words."""
    first, second = entries[:2]
    if second.is_baseline:
        return first.recipe.method_type.advantage(first.recipe.method)
    return first.title


def _effect(gain: Interval) -> str:
    if not gain.is_known:
        return "made this difference"
    return {"gained": "helped", "lost": "did harm", "unclear": "made no clear difference"}[gain.verdict]


def _points(gain: Interval) -> str:
    return f"{signed(gain.value)} points"


def signed(value: float) -> str:
    """A number with its sign, to one digit; the minus is as wide as the plus, and zero has no sign."""
    text = f"{value:+.1f}".replace("-", "\u2212")
    return "0.0" if text.endswith("0.0") and len(text) == 4 else text


def _interval(found: Interval) -> str:
    if not found.is_known:
        return ""
    low, high = (f"{value:.1f}".replace("-", "\u2212") for value in (found.low, found.high))
    return f" (95 % interval {low} to {high})"


def _caveats_of_runs(mean: OverRuns) -> list[str]:
    return [
        f"The intervals of the first sentence are over the {len(mean.rows)} runs, by Student's t: they say how far the "
        "score moves with another seed or other masks. The pictures, curves and classes below are those of the first "
        "run."
    ]


def _caveats(
    entries: Sequence[Entry],
    names: Sequence[str],
    split: str,
    num_images: int,
    scores: Intervals,
    mean: OverRuns | None,
) -> list[str]:
    first = entries[0]
    found = [] if mean is None else _caveats_of_runs(mean)
    found += [
        f"{'The' if mean is None else 'All other'} intervals are over the {num_images} images of {split}, by "
        f"{RESAMPLES} draws with replacement: they say how far a score moves with other images of this kind."
        f"{' Another training, with another seed or other masks, can move it further.' if mean is None else ''}"
        if scores.miou.is_known
        else f"There is no interval, because {split} has too few images with masks: {num_images}."
    ]
    if num_images < _FEW_IMAGES:
        found.append(f"{num_images} image{'' if num_images == 1 else 's'} of {split} say little.")
    selected = selected_val_score(first.run, first.recipe)
    if selected is not None:
        flatters = " The score on val flatters it." if split == "val" else ""
        found.append(f"The network is that of step {selected['step']} of {selected['of']}, the best on val.{flatters}")
    absent = [name for name, score in zip(names, scores.per_class, strict=True) if np.isnan(score.value)]
    if absent:
        found.append(f"No mask of {split} holds {', '.join(absent)}: no part of the mean.")
    if len(entries) == 1 and first.run.baseline.is_begun:
        found.append("The baseline of the run is not finished, and is left out.")
    elif len(entries) == 1 and first.recipe.needs.unlabeled:
        found.append(
            "To learn what the unlabeled images gave, train with --baseline, or name a second run: "
            "fewmask report RUN BASELINE."
        )
    return found
