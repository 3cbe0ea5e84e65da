"""ADE20K as SceneParsing published it: 150 classes, 20210 train and 2000 val images; 0 is no class.

Scene Parsing through ADE20K Dataset, CVPR 2017, http://sceneparsing.csail.mit.edu
"""

from pathlib import Path

from fewmask.data.classes import Classes
from fewmask.data.layouts.layout import Layout
from fewmask.data.sample import Folder, Sample, files_by_stem, paired
from fewmask.errors import UserError

# Mask values 1 to 150: the first of the names in objectInfo150.txt.
_NAMES = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door,
table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field,
armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard,
chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway,
case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower,
book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine,
hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television, airplane,
dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship,
fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag,
minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher,
screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate,
monitor, bulletin board, shower, radiator, glass, clock, flag
"""


def _read(root: Path, mistakes: list[UserError]) -> Folder:
    def samples(split: str) -> tuple[Sample, ...]:
        images = files_by_stem(root / "images" / split, {".jpg"}, mistakes)
        return paired(images, files_by_stem(root / "annotations" / split, {".png"}, mistakes), mistakes)

    names = tuple(name.strip() for name in _NAMES.split(","))
    classes = Classes(names=names, values=tuple(range(1, 151)), ignore=(0,))
    return Folder(root, classes, samples("training"), (), samples("validation"), ())


ADE20K = Layout(
    "ADE20K",
    signs=("images/training", "annotations/training"),
    parts=("images/training", "annotations/training"),
    read=_read,
    guide="Unpack ADEChallengeData2016.zip of data.csail.mit.edu/places/ADEchallenge and give ADEChallengeData2016: "
    "images/training/*.jpg, annotations/training/*.png, validation likewise.",
)
