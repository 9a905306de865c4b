"""The words of the service as frozen values: no I/O, no clock, no framework."""
