"""A tiny run beside its baseline, with names that are HTML, and its report."""

from pathlib import Path
from typing import NamedTuple

import fewmask
from fewmask.report import write_report
from toy import make_dataset, write_recipe

SCRIPT = "<script>alert(1)</script>"
NAMES = ("ground", SCRIPT, '"tree" & co', "a/b")
IMAGE = "<img src=x onerror=alert(2)>"


class Reported(NamedTuple):
    """A run and its page."""

    run: Path
    page: Path

    @property
    def text(self) -> str:
        """The page."""
        return self.page.read_text(encoding="utf-8")


def report_of_names(folder: Path) -> Reported:
    """The report of a run of 6 steps with a bank, on 3 images of val."""
    data = make_dataset(folder / "data")
    quoted = ", ".join("'{}'".format(name.replace("'", "''")) for name in NAMES)
    (data / "dataset.yaml").write_text(f"names: [{quoted}]\n")
    for kind in ("images", "masks"):
        file = data / "val" / kind / "val1.png"
        file.rename(file.with_name(f"{IMAGE}.png"))
    recipe = write_recipe(folder / "recipe.yaml", data, steps=6, score_every=3, feature_picture=True)
    run = fewmask.train(recipe, folder / "run", settings={"method.warmup_share": 0.2}, baseline=True)
    return Reported(run, write_report([run], folder / "pages" / "report.html", doctor=True, device="cpu"))
