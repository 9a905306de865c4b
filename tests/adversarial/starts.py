"""Sessions that start in a folder while another agent of their user keeps exchanging it for a link."""

import shlex
from pathlib import Path

from tests.service.e2e.client import Client, Event, bash, script

__all__ = ["events_of_starts"]

_FOLDER = "sub"
_STARTS = 10
_STOP = "stop-exchanging"
_EXCHANGE = """
import ctypes, os, time
libc = ctypes.CDLL(None)
os.symlink('TARGET', 'link')
end = time.monotonic() + 120
while time.monotonic() < end and not os.path.exists('STOP'):
    libc.renameat2(-100, b'FOLDER', -100, b'link', 2)
    time.sleep(0.0007)  # Each stands for about as long as a start takes from its look to its use.
"""


async def events_of_starts(
    client: Client, session: str, user: str, names: dict[str, Path], command: str
) -> list[Event]:
    """Those of the sessions that could start in the folder, and ran the command there. `session` is that of
    the agent that exchanges it."""
    sessions = [await client.create(user, subdir=_FOLDER) for _ in range(_STARTS)]
    code = _EXCHANGE.replace("FOLDER", _FOLDER).replace("TARGET", str(names["other"])).replace("STOP", _STOP)
    left = f"setsid nohup {names['python']} -c {shlex.quote(code)} > /dev/null 2>&1 & sleep 0.3"
    await client.say(session, script(bash(left)))
    events = []
    for one in sessions:
        await client.chat(one, script(bash(command)))
        events += await client.events(one)
        await client.http.delete(f"/api/v1/sessions/{one}")
    (names["own"] / _STOP).touch()
    return events
