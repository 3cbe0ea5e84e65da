"""From a folder of images to batches, and back to the person when something in it is wrong."""
