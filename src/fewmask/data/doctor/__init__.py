"""The data doctor: reads every file of a dataset and names each that is wrong, and what to do about it."""

from fewmask.data.doctor.diagnosis import Diagnosis, Problem, examine

__all__ = ["Diagnosis", "Problem", "examine"]
