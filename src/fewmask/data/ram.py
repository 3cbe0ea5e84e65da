"""The free memory of the machine, or of the container that this process runs in."""

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")
_UNKNOWN = 4 * 2**30  # on other systems than Linux: assume a small machine


def free_ram() -> int:
    """The bytes that processes may still take; a container may allow fewer than the machine has."""
    return min([_of_machine(), *_of_container()])


def _of_machine() -> int:
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return _UNKNOWN


def _of_container() -> list[int]:
    """What the limit of a control group (version 2) leaves; empty without a limit."""
    try:
        limit = (_CONTAINER / "memory.max").read_text().strip()
        used = int((_CONTAINER / "memory.current").read_text())
        counts = dict(line.split() for line in (_CONTAINER / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return []
    given_back = int(counts.get("inactive_file", 0))  # copies of files, which the system drops when memory is short
    return [] if limit == "max" else [max(0, int(limit) - used + given_back)]
