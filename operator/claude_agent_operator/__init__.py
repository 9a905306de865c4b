"""The control plane: turns a `ClaudeAgent` into the objects that run it, and reports its status."""

__all__ = ["__version__"]

__version__ = "2.0.0"
