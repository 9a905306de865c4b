"""What a jail holds where the kernel knows less of Landlock: each ABI's own rights are all that is asked of
it."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.service.launcher.prison import PYTHON

from claude_agent_http.runtime.isolation import readable

pytestmark = pytest.mark.tier("landlock")

_ROOT = Path(__file__).parents[3] / "service"
_TRY = """
import errno, json, os, socket, sys
sys.path.append(sys.argv[1])
from claude_agent_http.launcher import landlock
from claude_agent_http.launcher.kernel import PR_SET_NO_NEW_PRIVS, prctl
version, reads, own, other = int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4], sys.argv[5]
landlock.abi = lambda: version
prctl(PR_SET_NO_NEW_PRIVS, 1)
landlock.restrict(tuple(reads), (os.open(own, os.O_PATH),), ())
tries = {
    "write": lambda: open(own + "/new", "w").close(),
    "read other": lambda: open(other + "/file").close(),
    "truncate other": lambda: os.truncate(other + "/file", 0),
    "listen": lambda: socket.create_server(("127.0.0.1", 0)).close(),
    "signal": lambda: os.kill(os.getppid(), 0),
}
said = {}
for name, attempt in tries.items():
    try:
        attempt()
        said[name] = True
    except OSError:
        said[name] = False
print(json.dumps(said))
"""


@pytest.mark.parametrize("version", range(1, 8))
def test_an_older_kernel_holds_what_it_can(folder: Path, version: int) -> None:
    own, other = folder / "own", folder / "other"
    for place in (own, other):
        place.mkdir()
        (place / "file").write_text("secret")
    arguments = (str(_ROOT), str(version), json.dumps(readable((), Path(PYTHON))), str(own), str(other))
    ended = subprocess.run(
        [PYTHON, "-I", "-S", "-c", _TRY, *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "write": True,
        "read other": False,
        "truncate other": version < 3,
        "listen": version < 4,
        "signal": version < 6,
    }
