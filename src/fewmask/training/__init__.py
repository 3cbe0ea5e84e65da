"""From a recipe to a trained model in a run folder: data, devices, steps, and the hooks around the steps."""
