"""Curves for TensorBoard, written at once and without a thread, so a full disk is an error of the call that writes."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class EventFile:
    """One events file of a run; the first point creates it.

    Args:
        folder: TensorBoard shows all events files of a folder as one run.
        first: steps already done; TensorBoard drops the points of later steps in older files of the folder.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self._path = folder / f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"
        self._opening = [
            Event(file_version="brain.Event:2"),
            Event(step=first + 1, session_log=SessionLog(status=SessionLog.START)),
        ]

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one point of every curve; raises OSError if it cannot be written."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        with self._path.open("ab") as file:
            for event in (*self._opening, Event(step=step, summary=Summary(value=points))):
                event.wall_time = time.time()
                RecordWriter(file).write(event.SerializeToString())
        self._opening = []
