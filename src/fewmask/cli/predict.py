"""`fewmask predict`."""

from pathlib import Path
from typing import Annotated

import typer

from fewmask.cli.console import console, progress
from fewmask.say import say


def predict(
    model: Annotated[Path, typer.Argument(help="A run folder, or an exported .onnx file.")],
    images: Annotated[str, typer.Argument(help="An image, a folder, a pattern in quotes, or a .txt list of images.")],
    out: Annotated[Path, typer.Option(help="The folder for masks, overlays and confidence.")],
    also: Annotated[
        list[Path] | None, typer.Option(help="A further run folder; the runs predict together. It may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Predict anew what is there, and overwrite it.")] = False,
    write: Annotated[
        str, typer.Option(help="What to write: masks, overlays, confidence, entropy, with commas between.")
    ] = "masks,overlays,confidence",
    tta: Annotated[bool, typer.Option("--tta", help="Average over mirrored and scaled copies of each image.")] = False,
    tta_scales: Annotated[str, typer.Option(help="The scales for --tta.")] = "0.75,1,1.25",
    tile: Annotated[
        int, typer.Option(min=64, help="The longest side of a tile; a square image of 1.5 times this side is not cut.")
    ] = 1024,
    overlap: Annotated[int, typer.Option(min=0, help="The pixels that neighboring tiles share.")] = 128,
    device: Annotated[str, typer.Option(help="The device: auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Write a mask in the encoding of the data set, an overlay, and the confidence for every image.

    What is done is skipped, so a stopped command goes on where it was. Several processes (torchrun) share the images.
    """
    from fewmask.use.opened import open_network
    from fewmask.use.options import kinds_of, views_of
    from fewmask.use.predict import predict_files
    from fewmask.use.ranks import own_share
    from fewmask.use.results import Results
    from fewmask.use.streaming import Way

    share = own_share()
    kinds, views = kinds_of(write), views_of(tta, tta_scales)
    way = Way(tile, overlap, views)
    network, record = open_network(model, device, share, also or [])
    results = Results(out, kinds, network.classes)
    with progress() as bar:
        task = bar.add_task("predicting", total=None)
        summary = predict_files(
            network, images, results, record, way, force, share, lambda total: bar.update(task, total=total, advance=1)
        )
    places = ", ".join(f"{out}/{kind}" for kind in results.kinds)
    before = f", {summary.done_before} of them before" if summary.done_before else ""
    whose = f" of rank {share.rank}" if share.processes > 1 else ""
    say(console(), f"{summary.images} image{'' if summary.images == 1 else 's'}{whose}{before} -> {places}")
