"""Augmentation on the device: what a method's views are made of."""
