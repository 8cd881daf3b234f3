"""Metrics and health of one server: plain counters, their text, and the port where both are read."""
