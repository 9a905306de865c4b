"""`chat`: a terminal client of a running service."""
