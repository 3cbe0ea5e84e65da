"""Tensors in, tensors out: no state, no configuration, no network."""
