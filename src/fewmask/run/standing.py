"""Whether the scores that a run folder keeps still hold: nothing that they were made from was changed since."""

from collections.abc import Sequence
from pathlib import Path

from fewmask.data.folder import Sample
from fewmask.run.folder import RunFolder


def still_holds(kept: Path, run: RunFolder, samples: Sequence[Sample]) -> bool:
    """Whether a file in a run folder is newer than the run's networks, the samples and the classes of their folder.

    A file that was renamed or copied over another keeps its time, so the time of the change of its entry counts, too.
    """
    since = kept.stat().st_mtime_ns
    data = [file for sample in samples for file in (sample.image, sample.mask) if file is not None]
    classes = run.recipe().data.root / "dataset.yaml"
    if classes.is_file():
        data.append(classes)
    changes = (max(status.st_mtime_ns, status.st_ctime_ns) for status in (file.stat() for file in data))
    networks = (run.model_file(name).stat().st_mtime_ns for name in run.networks())
    return max((*changes, *networks), default=0) <= since
