"""A short campaign of faults; benchmarks/campaign.py is the long one."""

import os
import signal
from pathlib import Path

import pytest

from campaign import campaign
from faults.trial import judge
from fewmask.errors import UserError


@pytest.mark.slow
def test_every_fault_ends_well_or_in_one_line(tmp_path: Path) -> None:
    rows = list(campaign(tmp_path, num_mutations=40, num_kills=1, seed=1, every=30, methods=["supervised"]))
    assert {row.fault: row.report.wrong for row in rows if not row.report.is_good} == {}
    assert sum(row.report.counts.total() for row in rows) > 40


def test_what_is_wrong_is_found() -> None:
    def case(number: int) -> None:
        if number == 1:
            raise UserError("a line")
        if number == 2:
            raise KeyError("a mistake of the program")
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    report = judge(case, 0, 5)
    assert report.counts == {"succeeded": 2, "one line": 1, "traceback": 1, "crash": 1}
    assert report.wrong == ["case 2: traceback KeyError: 'a mistake of the program'", "case 3: crash "]
