"""What the workers of one engine have in common."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.relay import Relay
from claude_agent_http.engine.starts import Starts
from claude_agent_http.engine.telemetry import NullTelemetry
from claude_agent_http.engine.turn import Turn
from claude_agent_http.ports import Clock, Ids, Leases, RuntimeFactory, Telemetry, Wakeups


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """`slots` bounds live runtimes, `starts` those being started.

    `replica_id` is this process's at the moment; `lost` gets the turns that another replica took over."""

    journal: Journal
    relay: Relay
    leases: Leases
    wakeups: Wakeups
    replica_id: Callable[[], str]
    lost: Callable[[Turn], None]
    runtimes: RuntimeFactory
    clock: Clock
    ids: Ids
    limits: Limits
    slots: asyncio.Semaphore
    starts: Starts
    telemetry: Telemetry = field(default_factory=NullTelemetry)
