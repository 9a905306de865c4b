"""How our event streams are kept alive and given up."""

from typing import Any

__all__ = ["KEEP_ALIVE", "LINE_END"]

LINE_END = "\n"
KEEP_ALIVE: dict[str, Any] = {"ping": 15, "send_timeout": 30, "sep": LINE_END}
"""A comment every 15 s keeps proxies from cutting a silent stream; a client that takes nothing for 30 s
is gone."""
