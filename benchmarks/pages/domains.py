"""A few masks beside a labeled source domain: CamVid from day to dusk, drawn scenes from day to fog."""

from pages.rows import Rows, Values, gain_over, load, mean, select
from pages.text import draws_table, score, signed

LABELS = ("3", "6", "12")
NAMES = {
    "target_only": "target_only: the masks of the target alone",
    "joint": "joint: these and the source",
    "ass": "ass",
    "patch_contrast": "patch_contrast",
    "class_bank": "class_bank, without the source",
    "class_bank_source": "class_bank, with the source",
}


def values() -> Values:
    return {
        f"{study}_{name}": text for study in ("camvid", "scenes") for name, text in _of(load(f"{study}_domain")).items()
    }


def _of(rows: Rows) -> dict[str, str]:
    current = select(rows, variant="")
    texts = {"source_only": score(mean(select(current, row="source_only"), "test"))}
    for labels in LABELS:
        own = {name: select(current, row=name, labels=labels) for name in NAMES}
        texts[f"draws_{labels}"] = draws_table({NAMES[name]: each for name, each in own.items()}, NAMES["joint"])
        for name, each in own.items():
            texts[f"{name}_{labels}"] = score(mean(each, "test"))
            for other in ("joint", "target_only", "class_bank"):
                texts[f"{name}_over_{other}_{labels}"] = signed(gain_over(each, own[other], "test"))
    return texts
