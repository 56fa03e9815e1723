"""Hostile Cookie headers by the million: `make fuzz`."""
