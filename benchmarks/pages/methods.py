"""Every method under one recipe on CamVid, with and without class weights."""

from collections.abc import Mapping

from pages.rows import Rows, Values, gain_over, load, mean, select
from pages.text import draws_table, score, signed

UNWEIGHTED = ("adversarial", "s4gan", "cutmix", "cbc", "classmix", "dmt", "ecs", "cac", "class_bank unweighted")
WEIGHTED = ("label_contrast", "label_contrast pseudo_labels", "class_bank")


def values() -> Values:
    rows = select(load("ablations"), study="methods")

    def of(*names: str) -> dict[str, Rows]:
        return {name: select(rows, row=name) for name in names}

    plain, weighted = of("supervised unweighted", *UNWEIGHTED), of("supervised", *WEIGHTED)
    every = plain | weighted
    base = plain["supervised unweighted"]
    texts = {
        "unweighted": draws_table(plain, "supervised unweighted"),
        "weighted": draws_table(weighted, "supervised"),
        "supervised": score(mean(every["supervised"], "test")),
        "supervised_unweighted": score(mean(base, "test")),
    }
    for split in ("test", "val"):
        texts[f"class_weights_{split}"] = signed(gain_over(every["supervised"], base, split))
        texts[f"class_weights_class_bank_{split}"] = signed(
            gain_over(every["class_bank"], every["class_bank unweighted"], split)
        )
        for name in UNWEIGHTED:
            texts[f"{name.replace(' ', '_')}_{split}"] = signed(gain_over(every[name], base, split))
        for name in WEIGHTED:
            texts[f"{name.replace(' ', '_')}_{split}"] = signed(gain_over(every[name], every["supervised"], split))
        behind = gain_over(every["class_bank unweighted"], every["cutmix"], split)
        texts[f"class_bank_over_cutmix_{split}"] = signed(behind)
    return texts | _reasons(base, every)


def _reasons(base: Rows, every: Mapping[str, Rows]) -> dict[str, str]:
    """Why methods are behind, from runs of another length or with less of the method."""
    rows = select(load("ablations"), study="reasons")
    found = {name: select(rows, row=name) for name in sorted({row.row for row in rows})}
    draws = {row.run.draw for row in rows}
    short = {
        name: [row for row in every[name] if row.run.draw in draws] for name in ("supervised unweighted", "dmt", "cac")
    }
    texts = {"reasons": draws_table(short | found, "supervised unweighted")}
    for split in ("test", "val"):
        gains = {
            "dmt_long_over_supervised_long": (found["dmt, 1500 steps"], found["supervised unweighted, 1500 steps"]),
            "cac_weight_0": (found["cac, weight 0"], base),
            "cac_no_colors": (found["cac, no colors"], base),
            "cac_of_these_draws": (short["cac"], base),
            "dmt_of_these_draws": (short["dmt"], base),
        }
        texts |= {f"{name}_{split}": signed(gain_over(ours, theirs, split)) for name, (ours, theirs) in gains.items()}
    return texts
