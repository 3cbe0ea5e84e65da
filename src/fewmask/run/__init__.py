"""The run folder: its places, and readers and writers of everything in it."""
