"""One fair comparison of methods: a grid of runs beside one baseline and one full-supervision reference."""

from fewmask.study.compare.comparison import Comparison, compare
from fewmask.study.compare.folder import StudyFolder
from fewmask.study.compare.launchers import launcher_for
from fewmask.study.compare.plan import ARMS, BUDGETS, Study, plan_study

__all__ = ["ARMS", "BUDGETS", "Comparison", "Study", "StudyFolder", "compare", "launcher_for", "plan_study"]
