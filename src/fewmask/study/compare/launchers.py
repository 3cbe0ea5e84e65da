"""Where the processes of a comparison run: on this machine, each with its share of the threads, or on a cluster."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from fewmask.errors import UserError, choices
from fewmask.study.compare.folder import JobFolder
from fewmask.study.compare.job import STOPPED, do_job

CLUSTERS = ("slurm", "local")
_A_DAY = 24 * 60  # minutes
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class Ending(NamedTuple):
    """The exit code of a process, and what is known of a failure besides what the process wrote itself."""

    code: int
    why: str = ""


class Started(Protocol):
    """A process that was started."""

    def ending(self) -> Ending | None:
        """How it ended; None while it runs."""

    def stop(self) -> None:
        """Asks it to stop; a run then saves a checkpoint."""


class Launcher(Protocol):
    """Starts processes that do the jobs of folders.

    Attributes:
        jobs: how many may run side by side.
    """

    jobs: int

    def start(self, task: str, job: JobFolder) -> Started:
        """Starts a process for a task of `do_job`."""


class Processes:
    """Processes on this machine, each with its share of the threads.

    Args:
        jobs: how many run side by side.
        devices: what they run on in turn: numbers of GPUs, or `cpu`; empty: what `training.device` says. The GPUs that
            this process sees have the numbers 0, 1 and so on.

    Raises:
        UserError: there is no such device.
    """

    def __init__(self, jobs: int, devices: Sequence[str] = ()) -> None:
        self.jobs = jobs
        self._threads = max(1, _num_threads() // jobs)
        visible = [_visible(device) for device in devices]
        self._visible = [found for found, _ in zip(cycle(visible or [None]), range(jobs), strict=False)]
        self._running: list[_Process | None] = [None] * jobs

    def start(self, task: str, job: JobFolder) -> Started:
        """Starts the process on a device that no other process of ours uses, if there is one."""
        free = [place for place, process in enumerate(self._running) if process is None or process.ending()]
        place = free[0] if free else 0
        process = _Process(task, job, self._environment(self._visible[place]))
        self._running[place] = process
        return process

    def _environment(self, visible: str | None) -> dict[str, str]:
        threads = {name: str(self._threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        gpus = {} if visible is None else {_VISIBLE: visible}
        return {**os.environ, **threads, **gpus}


class _Process:
    """A process in a session of its own, so that a Ctrl-C reaches it through the command alone."""

    def __init__(self, task: str, job: JobFolder, environment: Mapping[str, str]) -> None:
        words = [sys.executable, "-m", "fewmask.study.compare", task, str(job.path), str(os.getpid())]
        with job.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ending(self) -> Ending | None:
        code = self._process.poll()
        if code is None or code >= 0:
            return None if code is None else Ending(code)
        if code == -signal.SIGTERM:
            return Ending(STOPPED)
        return Ending(code, f"the process was killed by signal {-code}; the machine may lack memory")

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()


class Work:
    """A job as submitit runs it: a job that is moved to another machine goes on there."""

    def __init__(self, task: str, path: Path) -> None:
        self.task, self.path = task, path

    def __call__(self) -> int:
        return do_job(self.task, self.path)

    def checkpoint(self) -> Any:
        """The same work again: a run goes on from its newest checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Cluster:
    """Jobs of a cluster, through submitit; all machines see the folder of the comparison.

    Args:
        jobs: how many are in the queue or run at a time.
        kind: `slurm`, or `local` to try the same on this machine.
        logs: where submitit keeps what it needs.
        options: what a job asks for, as `update_parameters` of submitit takes it: `slurm_partition`, `gpus_per_node`.

    Raises:
        UserError: submitit is not installed, there is no such cluster here, or it does not know an option.
    """

    def __init__(self, jobs: int, kind: str, logs: Path, options: Mapping[str, Any]) -> None:
        self.jobs = jobs
        try:
            import submitit
        except ImportError:
            fix = "Install it: pip install 'fewmask[cluster]'"
            raise UserError("jobs are sent by submitit, which is not installed", "--cluster", fix) from None
        if kind not in CLUSTERS:
            raise UserError(f"there is no cluster {kind!r}", "--cluster", f"Choose one of {choices(kind, CLUSTERS)}.")
        try:
            self._executor = submitit.AutoExecutor(folder=logs, cluster=kind)
            self._executor.update_parameters(**{"name": "fewmask", "timeout_min": _A_DAY} | dict(options))
        except (RuntimeError, ValueError, TypeError, NameError) as error:
            raise UserError(f"submitit says: {' '.join(str(error).split())}", "--cluster", "Correct this.") from None

    def start(self, task: str, job: JobFolder) -> Started:
        """Sends the job to the queue."""
        return _Queued(self._executor.submit(Work(task, job.path.resolve())))


class _Queued:
    """A job in the queue, or on a machine of the cluster."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def ending(self) -> Ending | None:
        if not self._job.done():
            return None
        error = self._job.exception()
        if error is None:
            return Ending(int(self._job.result()))
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        return Ending(1, f"the job {self._job.job_id} failed: {last[0]}")

    def stop(self) -> None:
        self._job.cancel()


def launcher_for(
    jobs: int, devices: Sequence[str], cluster: str | None, options: Mapping[str, Any], logs: Path
) -> Launcher:
    """Processes on this machine, or jobs of a cluster if one is named.

    Raises:
        UserError: there is no such device or cluster, or what is asked for does not go together.
    """
    if cluster is None:
        if options:
            raise UserError("no cluster is named", "--cluster-set", "Add --cluster slurm.")
        return Processes(jobs, devices)
    if devices:
        fix = "Ask for GPUs with --cluster-set gpus_per_node=1."
        raise UserError("devices are of this machine, and runs go to a cluster", "--devices", fix)
    return Cluster(jobs, cluster, logs, options)


def _visible(device: str) -> str:
    """The value of CUDA_VISIBLE_DEVICES for a process on a device: a part of the value here, if there is one."""
    if device == "cpu":
        return ""
    if not device.isdecimal():
        fix = "Write numbers of GPUs, or cpu: 0,1. A Mac trains with --set training.device=mps."
        raise UserError(f"there is no device {device!r} to choose", "--devices", fix)
    count = torch.cuda.device_count()
    if int(device) >= count:
        what = f"there is no GPU {device}: " + (f"the last one is {count - 1}" if count else "none is found")
        raise UserError(what, "--devices", "Write numbers of GPUs from 0 on, or cpu.")
    allowed = os.environ.get(_VISIBLE)
    return allowed.split(",")[int(device)].strip() if allowed else device


def _num_threads() -> int:
    """The threads that all processes share: what OMP_NUM_THREADS allows, or the cores that this process may use."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if allowed.isdecimal() and int(allowed):
        return int(allowed)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
