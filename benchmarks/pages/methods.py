"""Every method under one recipe on CamVid, with and without class weights."""

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
    return texts
