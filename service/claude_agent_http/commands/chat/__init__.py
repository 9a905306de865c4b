"""`chat`: a terminal client of a running service."""

DEFAULT_URL = "http://127.0.0.1:8000"
