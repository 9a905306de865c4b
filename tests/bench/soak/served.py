"""The service, telling how many asyncio tasks it holds: `served.py FILE EVERY_SECONDS serve ...`.

Run by its path, in the service's place. Nothing but a thread that looks is added.
"""

import asyncio
import gc
import os
import sys
import threading
import time
from pathlib import Path

from claude_agent_http.__main__ import main


def _tell(file: Path, every_seconds: float) -> None:
    """Found among all objects. Done ones do not count: they may be garbage that was not collected yet."""
    fresh = file.with_suffix(".new")
    while True:
        tasks = sum(type(one) is asyncio.Task and not one.done() for one in gc.get_objects())
        fresh.write_text(str(tasks), encoding="ascii")
        os.replace(fresh, file)
        time.sleep(every_seconds)  # A gauge's pace: what it counts gives no sign when it changes.


if __name__ == "__main__":
    told, every = Path(sys.argv[1]), float(sys.argv[2])
    del sys.argv[1:3]
    threading.Thread(target=_tell, args=(told, every), name="task-counter", daemon=True).start()
    main()
