"""Label-based contrastive pre-training on CamVid, from random and from ImageNet weights."""

from collections.abc import Callable

from fewmask.study.statistics import Estimate, gain, share_of_gap
from pages.rows import (
    Rows,
    Values,
    by_draw,
    gain_of_mean,
    gain_over,
    load,
    mean,
    mean_of_settings,
    measurements,
    select,
)
from pages.text import draws_table, percent, score, signed, table

LOSSES = ("within", "cross", "batch")
LABELS = ("12", "46", "92")
AFTER = ("none+round", "batch+round", "none+class_bank", "batch+class_bank")
SMALL = "fpn-lcnet_050"


def values() -> Values:
    rows = load("label_contrast")
    texts: dict[str, str] = {}
    for start, chosen in (("random", _is_random), ("imagenet", _is_pretrained)):
        own = [row for row in rows if chosen(row.run.weights)]
        current = select(own, variant="stride4", steps=2000)
        texts |= {f"{start}_{name}": text for name, text in _of_start(own, current).items()}
    random, imagenet = (
        select([row for row in rows if chosen(row.run.weights)], row="none", variant="stride4", steps=2000)
        for chosen in (_is_random, _is_pretrained)
    )
    for labels in LABELS:
        pretrained, from_random = (select(each, labels=labels) for each in (imagenet, random))
        texts[f"weights_{labels}"] = signed(gain_over(pretrained, from_random, "test"))
    return texts | _budget(rows) | _long(rows) | _earlier(rows) | {"own_images": _own_images()}


def _is_random(weights: str) -> bool:
    return weights == "none"


def _is_pretrained(weights: str) -> bool:
    return not _is_random(weights)


def _of_start(own: Rows, current: Rows) -> dict[str, str]:
    texts = {}
    none = [row for row in select(current, row="none") if row.run.labels != "all"]
    everything = select(current, row="none", labels="all")
    texts["all"] = f"{mean(everything, 'test'):.2f} ({mean(everything, 'val'):.2f})"
    for labels in LABELS:
        named = {name: select(current, row=name, labels=labels) for name in ("none", *LOSSES, *AFTER)}
        released = select(own, row="within", labels=labels, steps=2000, variant="stride4-released")
        weak = select(own, row="within", labels=labels, steps=2000, variant="stride4-weak", resize="0.25")
        named |= {"within, released loss and head": released} if released else {}
        named |= {"within, weak views contrasted": weak} if weak else {}
        texts[f"draws_{labels}"] = draws_table(named, "none")
        texts[f"none_{labels}"] = score(mean(named["none"], "test"))
        texts |= _gains(lambda name, named=named: named[name], named["none"], f"_{labels}")
        best = mean(everything, "test")
        closed = share_of_gap(mean(named["none+class_bank"], "test"), mean(named["none"], "test"), best)
        texts[f"class_bank_gap_{labels}"] = percent(closed)
    texts["none"] = score(mean(none, "test"))
    return texts | _gains(lambda name: select(current, row=name), none, "")


def _gains(rows: Callable[[str], Rows], none: Rows, suffix: str) -> dict[str, str]:
    """What every row gains over `none`, on test and val; `losses` is the mean of the three."""
    texts = {}
    for split in ("test", "val"):
        texts[f"losses_{split}{suffix}"] = signed(gain_of_mean(map(rows, LOSSES), none, split))
        for name in (*LOSSES, *AFTER):
            texts[f"{name.replace('none+', '').replace('+', '_')}_{split}{suffix}"] = signed(
                gain_over(rows(name), none, split)
            )
        adds = gain_over(rows("batch+class_bank"), rows("none+class_bank"), split)
        texts[f"batch_before_class_bank_{split}{suffix}"] = signed(adds)
    return texts


def _budget(rows: Rows) -> dict[str, str]:
    """`none` of as many steps as the others have left for cross-entropy."""
    random = [row for row in rows if _is_random(row.run.weights)]
    shorter = select(random, row="none", variant="stride4", steps=1333)
    current = [row for row in select(random, variant="stride4", steps=2000) if row.run.labels != "all"]
    losses = [select(current, row=name) for name in LOSSES]
    texts = {}
    for split in ("test", "val"):
        texts[f"budget_{split}"] = signed(gain_over(select(current, row="none"), shorter, split))
        texts[f"uncharged_{split}"] = signed(gain(mean_of_settings(losses, split), by_draw(shorter, split)))
    return texts


def _long(rows: Rows) -> dict[str, str]:
    """12000 steps of a small network."""
    own = select(rows, network=SMALL, variant="stride4-weak")
    twelve = {name: select(own, row=name, labels="12") for name in ("none", *LOSSES)}
    named = twelve | {"none, all 367 masks": select(own, labels="all")}
    gains: list[Estimate] = [gain_over(twelve["within"], twelve["none"], split) for split in ("test", "val")]
    texts = {"long_draws": draws_table(named, "none")}
    return texts | {"long_test": signed(gains[0]), "long_val": signed(gains[1])}


def _earlier(rows: Rows) -> dict[str, str]:
    """Rows of code that padded small images with black."""
    black = select(select(rows, variant="stride4-black", weights="none"), labels="12", steps=2000)
    named = {name: select(black, row=name) for name in ("none", *LOSSES)}
    flips = select(rows, variant="stride4-flip-black")
    of_flips = {f"{name}, fine-tuning with flips alone": select(flips, row=name) for name in ("none", "batch")}
    return {"black_draws": draws_table(named | of_flips, "none")}


def _own_images() -> str:
    lines = []
    for row in measurements("own_images"):
        if row["run"].endswith("-flip"):
            _, name, _, draw, *_ = row["run"].split("-")
            lines.append([name, draw.removeprefix("seed"), row["own"], row["other"]])
    return table(["pre-training, flips alone", "draw", "its own 12 images", "the other 355 of train"], lines)
