"""Street scenes from day to fog: what 200 labeled day scenes give beside 3, 6 or 12 masks of 200 fog scenes.

    python benchmarks/scenes_domain.py

Scored on 60 fog scenes; network and budget are the demo's. Each seed draws its own scenes and its own weights; rows go
to benchmarks/scenes_domain.csv one by one.
"""

from domains import add_domain_rows, domain_parser
from fewmask.scenes import write_scenes
from fewmask.study.demo import STEPS, TEST_IMAGES, TRAIN_IMAGES, demo_recipe
from table import ROOT

RUNS = ROOT / "runs" / "scenes_domain"


def main() -> None:
    args = domain_parser(__doc__, STEPS).parse_args()
    for seed in args.seeds:
        day, fog = RUNS / f"day-{seed}", RUNS / f"fog-{seed}"
        if not (day / "train").exists():
            write_scenes(day, train=TRAIN_IMAGES, seed=seed)
        if not (fog / "test").exists():
            write_scenes(fog, train=TRAIN_IMAGES, test=TEST_IMAGES, seed=1000 + seed, style="fog")
        recipe = demo_recipe(fog, "supervised", seed=seed).model_dump(mode="json")
        settings = {key: recipe[key] for key in ("data", "net", "training")} | {"source": {"root": str(day)}}
        add_domain_rows("scenes_domain", ("scenes fog", "scenes day"), settings, seed, args)


if __name__ == "__main__":
    main()
