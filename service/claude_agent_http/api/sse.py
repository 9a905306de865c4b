"""How our event streams are kept alive and given up."""

from typing import Any

__all__ = ["KEEP_ALIVE", "LINE_END"]

LINE_END = "\n"
KEEP_ALIVE: dict[str, Any] = {"ping": 15, "send_timeout": 45, "sep": LINE_END}
"""A comment every 15 s keeps proxies from cutting a silent stream. A client that takes nothing is cut by the
server (`server.ConnectionLimits.reader_seconds`), and by this where another one serves."""
