"""Runs `python -m fewmask`, for launchers that start modules: `torchrun -m fewmask train ...`."""

from fewmask.cli import main

main()
