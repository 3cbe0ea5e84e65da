"""What docs/security.md promises of the source as a whole, and of pictures that unpack to more than a memory holds."""

import ast
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import fewmask
from fewmask.data.images import read_image
from fewmask.errors import UserError

PACKAGE = Path(fewmask.__file__).parent
ROOT = Path(__file__).parents[1]
RUNS_CODE = {
    *("eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "np.load", "numpy.load", "os.system"),
    *("os.popen", "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output", "joblib.load"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "shutil.unpack_archive", "tarfile.open", "zipfile.ZipFile"),
}


STARTS_ITSELF = {"study/compare/launchers.py": ["subprocess.Popen"]}
"""`fewmask compare` starts its own jobs, by a list of words and without a shell."""


def dangerous_calls(text: str) -> Iterator[str]:
    """Calls that may run what a file holds, or unpack an archive."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        trusts_nothing = any(
            word.arg == "weights_only" and isinstance(word.value, ast.Constant) and word.value.value is True
            for word in node.keywords
        )
        if name in RUNS_CODE or (name == "torch.load" and not trusts_nothing):
            yield name


def test_nothing_in_the_source_runs_what_a_file_holds() -> None:
    texts = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    found = {path: list(dangerous_calls(text)) for path, text in texts.items()}
    assert {path: calls for path, calls in found.items() if calls} == STARTS_ITSELF


def test_a_dangerous_call_is_found() -> None:
    text = (
        "torch.load(p)\ntorch.load(p, weights_only=False)\ntorch.load(p, weights_only=True)\nnp.load(p)\nnet.eval()\n"
    )
    assert list(dangerous_calls(text)) == ["torch.load", "torch.load", "np.load"]


def test_a_picture_that_unpacks_to_gigabytes_is_one_line_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10**6))  # a thousandth of what the header says, which nothing may decode
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    with pytest.raises(UserError, match="the image has more than 178 million pixels"):
        read_image(bomb)


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.\w+)`", (ROOT / "docs" / "security.md").read_text())
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []
