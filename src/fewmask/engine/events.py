"""Curves for TensorBoard, written as they come: no thread beside the run, so a full disk is an error of this call."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]


class EventFile:
    """One events file of a run.

    Args:
        folder: TensorBoard shows all events files of a folder as one run.
        first: steps already done; TensorBoard forgets what older files of the folder say of later ones.
    """

    def __init__(self, folder: Path, first: int) -> None:
        path = folder / f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"
        self._file: BinaryIO = path.open("ab")
        self._records = RecordWriter(self._file)
        self._add(Event(file_version="brain.Event:2"))
        self._add(Event(step=first, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One point of every curve; raises OSError when it cannot be written."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(Event(step=step, summary=Summary(value=points)))

    def close(self) -> None:
        """Closes the file; every point is in it."""
        with suppress(OSError):  # of a write that failed, which has been told
            self._file.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._records.flush()
