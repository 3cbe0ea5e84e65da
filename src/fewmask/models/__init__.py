"""What owns weights or buffers: networks, the EMA teacher, the class bank, heads and selectors."""
