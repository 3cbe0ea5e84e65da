"""Exports a run in one of four formats, checks the file, and says what it wrote."""

from collections.abc import Callable
from pathlib import Path

from fewmask.errors import UserError, choices, in_command
from fewmask.use.export.onnx import compare, refuse_if_other, write_onnx
from fewmask.use.export.quantize import CALIBRATION_IMAGES, quantize, score_file
from fewmask.use.export.run_images import unlabeled_images, val_samples
from fewmask.use.model import Model, load

FORMATS = {"onnx": "model.onnx", "torch": "model.pt2", "smp": "smp", "safetensors": "model.safetensors"}
"""The name of the exported file, or folder, by format."""
_CHECKED_IMAGES = 8


def export_run(
    run: Path, form: str, out: Path | None, int8: bool, images: str | None, tell: Callable[[str], None]
) -> Path:
    """Writes the shipped network of a finished run and returns the path.

    Args:
        run: the run folder.
        form: onnx, torch, smp or safetensors.
        out: the file, or the folder for smp; None: the usual name in RUN/export.
        int8: also write NAME_int8.onnx, and score both files on val.
        images: images for the check and for the calibration, as `predict` takes them; None: images of the run.
        tell: takes the lines to print.

    Raises:
        UserError: the format is not known, the network cannot be exported, or the file does not give the same.
    """
    from fewmask.use.export.files import write_safetensors, write_smp, write_torch

    if form not in FORMATS:
        raise UserError(f"there is no format {form!r}", "--format", f"Choose one of {choices(form, FORMATS)}.")
    if int8 and form != "onnx":
        raise UserError("int8 is for --format onnx", "--int8", "Leave out one of the two.")
    model = load(run, "cpu")
    deployed, config = model.networks[model.shipped], model.recipe.net
    path = out or model.run.path / "export" / FORMATS[form]
    name = f"{config.arch} over {config.encoder}"
    if form == "onnx":
        checked = unlabeled_images(model, images, _CHECKED_IMAGES)
        write_onnx(deployed, name, path)
        check = compare(deployed, path, checked)
        refuse_if_other(check, path)
        tell(
            f"{check.images} images: the same class on {100 * check.agreement:.3f} % of the pixels, "
            f"probabilities differ by at most {check.difference:.1g}"
        )
        tell(f"{_size(path)} -> {path}")
        if int8:
            _write_int8(model, path, images, tell)
        tell(f"Use it: fewmask predict {in_command(path)} IMAGES --out DIR")
        return path
    if form == "torch":
        write_torch(deployed, name, path)
    elif form == "smp":
        write_smp(deployed, config, path)
    else:
        write_safetensors(deployed, config, path)
    tell(f"{_size(path)} -> {path}")
    return path


def _write_int8(model: Model, path: Path, images: str | None, tell: Callable[[str], None]) -> None:
    target = path.with_name(f"{path.stem}_int8{path.suffix}")
    samples = val_samples(model)
    quantize(path, target, unlabeled_images(model, images, CALIBRATION_IMAGES))
    before, after = (score_file(file, samples, model.classes).miou for file in (path, target))
    assert before is not None
    assert after is not None
    tell(
        f"int8: mIoU on val {100 * after:.1f} instead of {100 * before:.1f} ({100 * (after - before):+.1f}), "
        f"{_size(target)} -> {target}"
    )


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 2**20:.1f} MiB"
