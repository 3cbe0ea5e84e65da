"""The command line: every command parses, calls one function, and prints."""

from fewmask.cli.app import app, main

__all__ = ["app", "main"]
