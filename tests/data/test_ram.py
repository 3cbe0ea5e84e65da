"""The free memory: that of the machine, or what the limit of a container leaves."""

from pathlib import Path

import pytest

from fewmask.data import ram

MIB = 2**20


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 100 MiB free, in a folder."""
    monkeypatch.setattr(ram, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(ram, "_CONTAINER", tmp_path)
    (tmp_path / "meminfo").write_text(f"MemTotal: 999999 kB\nMemAvailable: {100 * 1024} kB\n")
    return tmp_path


@pytest.mark.parametrize(("limit", "free"), [("max", 100), (str(60 * MIB), 35), (str(900 * MIB), 100), ("1", 0)])
def test_the_smaller_of_machine_and_container_counts(machine: Path, limit: str, free: int) -> None:
    assert ram.free_ram() == 100 * MIB
    (machine / "memory.max").write_text(f"{limit}\n")
    (machine / "memory.current").write_text(f"{30 * MIB}\n")
    (machine / "memory.stat").write_text(f"anon 7\ninactive_file {5 * MIB}\n")
    assert ram.free_ram() == free * MIB


def test_another_system_counts_as_small(machine: Path) -> None:
    (machine / "meminfo").unlink()
    assert ram.free_ram() == 4 * 2**30
