"""More than one run: comparisons, the baseline beside a run, the demo."""
