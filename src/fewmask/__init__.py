"""Training a semantic segmentation model from a handful of labeled masks and many unlabeled images."""
