"""Fits the batches of a run to the memory of its device, before the run (`training.memory=auto`)."""

from fewmask.training.fit.memory import fitted

__all__ = ["fitted"]
