"""The most exact floating-point numbers that a device has."""

import torch


def exact_dtype(device: torch.device) -> torch.dtype:
    """float64, in which counts of pixels add up exactly; float32 on Apple's mps, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
