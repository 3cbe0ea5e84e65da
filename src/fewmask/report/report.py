"""Makes the report of one run or of several: measures them on the same images, and writes the page."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from fewmask.data.classes import Classes
from fewmask.data.folder import Folder, Sample
from fewmask.errors import UserError, in_command
from fewmask.recipe.folders import target_folder
from fewmask.report.answer import answer, in_percent
from fewmask.report.bootstrap import intervals, iou, resampled
from fewmask.report.curves import class_curves, loss_charts, read_journals, score_chart, watched_charts
from fewmask.report.draws import OverRuns, draws_of, over_runs, without_other_draws
from fewmask.report.entries import Entry, read_entries, split_to_score
from fewmask.report.facts import cost, setting_blocks, trained
from fewmask.report.findings import Findings, findings_of
from fewmask.report.gallery import gallery
from fewmask.report.looks import looks_of
from fewmask.report.page import render
from fewmask.report.tables import (
    MATRIX,
    SURE,
    class_rows,
    confused_rows,
    confusion_table,
    mean_row,
    reliability,
    sure_rows,
)
from fewmask.run.atomic import part_name, write_text
from fewmask.run.folder import RunFolder
from fewmask.run.scores import standing_scores
from fewmask.run.tallies import Tally, standing_tallies
from fewmask.say import say
from fewmask.use.evaluate import check_not_learned, no_tick, score
from fewmask.use.ranks import own_share
from fewmask.use.tally import tally

IMAGES = 50  # in the gallery
_MOST_EXAMINED = 2000  # images; beyond, the doctor reads them only if asked to


def write_report(
    runs: Sequence[Path],
    out: Path,
    split: str | None = None,
    images: int = IMAGES,
    doctor: bool | None = False,
    device: str = "auto",
    tick: Callable[[int], None] = no_tick,
) -> Path:
    """Writes the report of the runs as one HTML file, and returns its path.

    Args:
        runs: folders of finished runs with the same classes. The page is about the first one, and compares it with its
            baseline if it has one, else with the second one. All are scored on the first one's data. Of runs that
            differ from the first one in seed or masks alone, and of their baselines, the page gives the mean.
        out: the file to write.
        split: val, test or train; None: val if it has masks, else test.
        images: the most images in the gallery.
        doctor: whether the doctor reads every file of the data set; None: if it has at most 2000 images. He may start
            processes, so a script that asks him has to guard its main part by `if __name__ == "__main__"`.
        device: cpu, cuda, mps or auto.
        tick: called after every scored image with the number of all images.

    Raises:
        UserError: a run is not finished, there are no masks to score on, a run has learned from images to be scored, or
            the file cannot be written.
    """
    _check_writable(out)
    given = read_entries(runs, device)
    draws = draws_of(given)
    entries = without_other_draws(given, draws)
    split = split_to_score(entries[0], split)
    folder = target_folder(entries[0].recipe.data)
    splits = {"train": folder.train, "val": folder.val, "test": folder.test}
    samples = [sample for sample in splits[split] if sample.mask is not None]
    if split != "train":
        check_not_learned(samples, [entry.run for entry in given])
    tallies = _tallies(entries, folder, split, samples, tick)
    shipped = [found[entry.model.shipped] for entry, found in zip(entries, tallies, strict=True)]
    if not shipped[0].confusion.any():
        raise UserError(f"no mask of {split} holds a labeled pixel", folder.root, "Score another split: --split test.")
    mean = over_runs(draws, _scorer(entries, shipped, split, samples, folder.classes))
    context = _scores(entries, tallies, split, len(samples), mean) | {
        "gallery": gallery(entries, shipped, samples, folder.classes, images),
        "classes": folder.classes,
        "entries": entries,
        "split": split,
        "num_images": len(samples),
        "doctor": _findings(entries[0], doctor),
        "scoring_ms": 1000 * shipped[0].seconds,
        "device": shipped[0].device,
    }
    page = render(context | _layers(entries) | _journaled(entries) | _when())
    try:
        write_text(out, page)
    except OSError as error:
        raise _cannot_write(out, error) from None
    return out


def write_report_of(
    run: RunFolder, console: Console, doctor: bool | None = False, tick: Callable[[int], None] = no_tick
) -> None:
    """Writes RUN/report.html at the end of a training, unless it is there or the recipe leaves it out.

    Only the first of several processes writes. A run without masks in val and test, or whose data are gone, has no
    report, and one line says so. The arguments are those of `write_report`.
    """
    recipe = run.recipe()
    if own_share().rank or not recipe.training.report or run.report.exists():
        return
    try:
        write_report([run.path], run.report, doctor=doctor, device=recipe.training.device, tick=tick)
    except UserError as mistake:
        say(console, f"No report is written. {mistake}", "yellow")
        return
    say(console, f"      Open {run.report} in a browser: how good it is, and where it fails.")


def _layers(entries: Sequence[Entry]) -> dict[str, Any]:
    """The names of the layers of the gallery by their keys, and the one that is on the left side at first."""
    titles = [entry.title for entry in entries]
    names = {"image": "image", "truth": "truth"}
    names |= {f"prediction{place}": title for place, title in enumerate(titles)}
    names |= {"confidence": f"confidence of {titles[0]}"}
    names |= {f"errors{place}": f"errors of {title}" for place, title in enumerate(titles[:2])}
    left = "prediction1" if len(entries) > 1 else "truth"
    return {"layer_names": names, "gallery_layers": list(names.items()), "left_layer": left}


def _tallies(
    entries: Sequence[Entry], folder: Folder, split: str, samples: Sequence[Sample], tick: Callable[[int], None]
) -> list[dict[str, Tally]]:
    """The counts of every network of every entry: those that its run keeps if they still stand, else counted now."""
    found = [standing_tallies(entry.run, split, samples) if _is_of(entry, folder) else None for entry in entries]
    lacking = {
        f"{place}/{name}": network
        for place, (entry, known) in enumerate(zip(entries, found, strict=True))
        if known is None
        for name, network in entry.model.networks.items()
    }
    counted = tally(lacking, samples, folder.classes, tick) if lacking else {}
    return [
        {name: counted[f"{place}/{name}"] for name in entry.model.networks} if known is None else known
        for place, (entry, known) in enumerate(zip(entries, found, strict=True))
    ]


def _is_of(entry: Entry, folder: Folder) -> bool:
    """Whether the run is of the data in this folder."""
    return Path(entry.recipe.data.root).resolve() == folder.root.resolve()


def _scorer(
    entries: Sequence[Entry], tallies: Sequence[Tally], split: str, samples: Sequence[Sample], classes: Classes
) -> Callable[[Entry], float]:
    """A function that gives the mIoU of a run in [0, 1]: as counted here, as the run keeps it, or else scored now."""

    def score_of(entry: Entry) -> float:
        for shown, found in zip(entries, tallies, strict=True):
            if shown.model is entry.model:
                return float(np.nanmean(iou(found.images.sum(axis=0))))
        kept = standing_scores(entry.run, split, samples)
        if kept is not None:
            return float(kept["miou"] or 0)
        network = entry.model.networks[entry.model.shipped]
        return float(score({"": network}, samples, classes)[""].miou or 0)

    return score_of


def _scores(
    entries: Sequence[Entry],
    tallies: Sequence[dict[str, Tally]],
    split: str,
    num_images: int,
    mean: OverRuns | None,
) -> dict[str, Any]:
    """Everything that follows from the counts."""
    drawn = [{name: resampled(each.images) for name, each in found.items()} for found in tallies]
    names = entries[0].model.classes.names
    shipped = [each[entry.model.shipped] for entry, each in zip(entries, drawn, strict=True)]
    scores = [intervals(each) for each in shipped]
    gains = intervals(shipped[0], shipped[1]) if len(entries) > 1 else None
    reference = shipped[1] if len(entries) > 1 else None
    first = tallies[0][entries[0].model.shipped]
    rows = [
        mean_row(
            entry.title,
            name,
            entry.model.shipped,
            intervals(each[name]),
            None if reference is None or each[name] is reference else intervals(each[name], reference),
        )
        for entry, each in zip(entries, drawn, strict=True)
        for name in sorted(each, key=lambda name: name != entry.model.shipped)
    ]
    teacher = entries[0].teacher
    return {
        "answer": answer(entries, names, split, num_images, scores[0], gains, mean),
        "over_runs": mean,
        "rows": class_rows(first, scores[0], scores[1] if len(entries) > 1 else None, gains),
        "confusion": confusion_table(first.confusion),
        "confused": confused_rows(first.confusion) if len(names) > MATRIX else None,
        "networks": rows,
        "mean_of_second": in_percent(scores[1].miou) if len(entries) > 1 else None,
        "teacher": teacher,
        "sure": sure_rows(tallies[0][teacher]),
        "sure_from": SURE,
        "reliability": reliability(first),
    }


def _journaled(entries: Sequence[Entry]) -> dict[str, Any]:
    """Everything that follows from the files of the runs."""
    journals = read_journals(entries)
    first, names = entries[0], entries[0].model.classes.names
    return {
        "trained": [trained(entry) for entry in entries],
        "score_chart": score_chart(entries),
        "losses": loss_charts(entries, journals),
        "watched": watched_charts(entries, journals, names),
        "class_curves": class_curves(first, journals[0], names),
        "scored_classes": first.run.class_scores_file.exists(),
        "looks": looks_of(first, first.model.classes),
        "costs": [cost(entry, metrics) for entry, metrics in zip(entries, journals, strict=True)],
        "settings": [(entry.title, setting_blocks(entry.recipe)) for entry in entries],
    }


def _findings(entry: Entry, wanted: bool | None) -> Findings:
    folder = target_folder(entry.recipe.data)
    count = sum(map(len, (folder.train, folder.unlabeled, folder.val, folder.test)))
    if wanted is False or (wanted is None and count > _MOST_EXAMINED):
        return Findings(None, [])
    return findings_of(entry.recipe.data.root)


def _when() -> dict[str, str]:
    now = datetime.now(UTC)
    return {"made": f"{now:%d} {now:%B %Y}, {now:%H:%M} UTC", "version": version("fewmask")}


def _check_writable(out: Path) -> None:
    """Raises UserError before the work if the file cannot be written after it."""
    if out.is_dir():
        raise UserError("this is a folder", out, f"Name a file: --out {in_command(out / 'report.html')}.")
    probe = out.with_name(part_name())
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _cannot_write(out, error) from None


def _cannot_write(out: Path, error: OSError) -> UserError:
    fix = "Choose another --out, or make room there."
    return UserError(f"the report cannot be written ({error.strerror or error})", out, fix)
