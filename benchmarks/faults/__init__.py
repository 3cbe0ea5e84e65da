"""Faults on purpose: damaged files, killed runs, full disks and lost folders, and how fewmask answers them."""
