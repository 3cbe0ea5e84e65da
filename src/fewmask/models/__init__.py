"""Modules that own weights or buffers: networks, the EMA teacher, the class bank, heads and selectors."""
