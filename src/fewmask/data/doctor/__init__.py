"""The data doctor reads every file of a dataset, names each one that is wrong, and says what to do about it."""

from fewmask.data.doctor.diagnosis import Diagnosis, examine
from fewmask.data.doctor.problem import Problem

__all__ = ["Diagnosis", "Problem", "examine"]
