"""Street scenes from day to fog: what 200 labeled day scenes add to 3, 6 or 12 masks of 200 fog scenes.

    python benchmarks/scenes_domain.py

The scores are on 60 fog scenes, with a small network from random weights. Each seed draws its own scenes and its own
weights. Rows are added to benchmarks/scenes_domain.csv one by one.
"""

from domains import add_domain_rows, domain_parser
from fewmask.scenes import write_scenes
from table import ROOT

TRAIN_IMAGES, TEST_IMAGES, STEPS = 200, 60, 400
RUNS = ROOT / "runs" / "scenes_domain"


def main() -> None:
    args = domain_parser(__doc__, STEPS).parse_args()
    for seed in args.seeds:
        day, fog = RUNS / f"day-{seed}", RUNS / f"fog-{seed}"
        if not (day / "train").exists():
            write_scenes(day, train=TRAIN_IMAGES, seed=seed)
        if not (fog / "test").exists():
            write_scenes(fog, train=TRAIN_IMAGES, test=TEST_IMAGES, seed=1000 + seed, style="fog")
        settings = {
            "data": {"root": str(fog)},
            "net": {"arch": "deeplabv3plus", "encoder": "mobilenetv2_050", "weights": "none"},
            "training": {"steps": STEPS, "unlabeled_batch": 2, "learning_rate": 2e-3, "seed": seed},
            "source": {"root": str(day)},
        }
        add_domain_rows("scenes_domain", ("scenes fog", "scenes day"), settings, seed, args)


if __name__ == "__main__":
    main()
