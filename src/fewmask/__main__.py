"""Runs `python -m fewmask`, for launchers that start modules: `torchrun -m fewmask train ...`."""

from fewmask.cli import main

if __name__ == "__main__":  # processes that read files import this module again
    main()
