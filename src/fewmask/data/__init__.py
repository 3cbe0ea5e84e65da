"""From a folder of images to batches, with a clear message where something in the folder is wrong."""
