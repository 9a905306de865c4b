"""Who has no use for metrics does not carry their library."""

import subprocess
import sys

_PROGRAM = """
import sys
import claude_agent_http.app
from claude_agent_http.settings import MetricsSettings
from claude_agent_http.telemetry import configured_metering
for enabled in (False, True):
    configured_metering(MetricsSettings(enabled=enabled))
    print("prometheus_client" in sys.modules)
"""


def test_the_library_is_loaded_only_where_metrics_are_on() -> None:
    command = [sys.executable, "-c", _PROGRAM]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert ended.stdout.split() == ["False", "True"]
