"""Trains a model in a run folder by a recipe: data, devices, steps, and the hooks around the steps."""
