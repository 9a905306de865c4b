"""The parent process of one CLI: a program of its own.

Standard library only, and of that little: what it imports before the CLI runs, this file too, each start of a
session waits for. Hence `posix`, of which `os` is made: to load that takes a millisecond, so only what the
launcher does while its CLI starts uses it.
"""
