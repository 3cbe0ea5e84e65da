"""Work with more than one run: comparisons, the baseline of a run, and the demo."""
