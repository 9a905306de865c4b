"""The Claude Agent SDK as an HTTP service: HTTP in, agent turns, events out."""

__all__ = ["__version__"]

__version__ = "2.0.0"
