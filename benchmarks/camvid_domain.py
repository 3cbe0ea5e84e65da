"""CamVid from day to dusk: what 305 labeled day images add to 3, 6 or 12 masks of 62 dusk images.

    python benchmarks/camvid_domain.py ../shared/data/camvid --weights \
        ../shared/weights/mobilenetv2_100_imagenet.safetensors

The scores are on the 62 dusk images of test. The network is DeepLabv3+ over MobileNetV2 with ImageNet weights. Rows are
added to benchmarks/camvid_domain.csv one by one.
"""

from pathlib import Path

from domains import add_domain_rows, domain_parser


def main() -> None:
    parser = domain_parser(__doc__, steps=1500)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument(
        "--resize", type=float, default=0.25, help="0.25: 90 x 120 pixels; 0.5: as benchmarks/camvid.py"
    )
    args = parser.parse_args()
    lists = args.data / "splits" / "domain"
    settings = {
        "data": {
            "root": str(args.data),
            "train_list": str(lists / "dusk_train.txt"),
            "test_list": str(lists / "dusk_test.txt"),
            "resize": args.resize,
            "crop": [round(352 * args.resize), round(480 * args.resize)],
        },
        "source": {"root": str(args.data), "train_list": str(lists / "day_train.txt")},
        "net": {"arch": "deeplabv3plus", "encoder": "mobilenetv2_100", "weights": args.weights},
        "training": {"labeled_batch": 4, "unlabeled_batch": 2, "learning_rate": 1e-3},
    }
    for seed in args.seeds:
        add_domain_rows("camvid_domain", ("camvid dusk", "camvid day"), settings, seed, args)


if __name__ == "__main__":
    main()
