"""A finished model by its path: a run folder in torch, or an exported file in onnxruntime without torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from fewmask.errors import UserError
from fewmask.use.network import Network
from fewmask.use.ranks import Share


def open_network(
    path: Path, device: str, share: Share | None = None, also: Sequence[Path] = ()
) -> tuple[Network, dict[str, str]]:
    """The network that a run ships or that a file holds, and what identifies it.

    Args:
        path: a run folder or an .onnx file.
        device: cpu, cuda, mps or auto.
        share: of several processes on a machine, each takes a GPU of its own.
        also: further run folders, with which a run predicts together.

    Raises:
        UserError: there is no model, one of its files is damaged, or the models do not fit together.
    """
    share = share or Share()
    for file in (path, *also):
        if also and file.suffix.lower() == ".onnx":
            raise UserError("an .onnx file predicts alone", file, "Name the run folders instead.")
    if path.suffix.lower() == ".onnx":
        from fewmask.use.onnx_network import OnnxNetwork

        return OnnxNetwork(path, device, share.local), {"model": _digest(path)}
    from fewmask.use.model import load

    model = load(path, device, share.local if share.processes > 1 else None, also)
    digests = [_digest(run.model_file(run.recipe().networks[0])) for run in (model.run, *model.also)]
    return model.network, {"model": " ".join(digests)}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise UserError(f"the file cannot be read ({error.strerror})", path, "Make it readable.") from None
