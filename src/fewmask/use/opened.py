"""A finished model by its path: a run folder in torch, or an exported file in onnxruntime without torch."""

import hashlib
from pathlib import Path

from fewmask.errors import UserError
from fewmask.use.network import Network
from fewmask.use.ranks import Share


def open_network(path: Path, device: str, share: Share | None = None) -> tuple[Network, dict[str, str]]:
    """The network that a run ships or that a file holds, and what identifies it.

    Args:
        path: a run folder or an .onnx file.
        device: cpu, cuda, mps or auto.
        share: of several processes on a machine, each takes a GPU of its own.

    Raises:
        UserError: there is no model, or one of its files is damaged.
    """
    share = share or Share()
    if path.suffix.lower() == ".onnx":
        from fewmask.use.onnx_network import OnnxNetwork

        return OnnxNetwork(path, device, share.local), {"model": _digest(path)}
    from fewmask.use.model import load

    model = load(path, device, share.local if share.processes > 1 else None)
    return model.network, {"model": _digest(model.run.model_file(model.shipped))}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise UserError(f"the file cannot be read ({error.strerror})", path, "Make it readable.") from None
