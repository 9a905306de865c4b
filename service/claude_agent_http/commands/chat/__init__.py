"""`chat`: a terminal client of a running service."""

DEFAULT_URL = "http://127.0.0.1:8000"
LONGEST_TURN = 600.0
"""Seconds: the most that the API takes as a `timeout`."""
