"""Turns a folder of images into batches, and says clearly what is wrong with the folder."""
