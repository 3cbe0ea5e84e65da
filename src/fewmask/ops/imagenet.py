"""Mean and standard deviation of ImageNet's colors, by which networks with its weights want images normalized."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of each channel, for RGB in [0, 1]."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of each channel, for RGB in [0, 1]."""
