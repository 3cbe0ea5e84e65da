"""Augmentation on the device: the parts that a method's views are made of."""
