"""A message to a hibernated session, against a bare client that resumes the same kind of conversation."""

from statistics import median

import psutil
from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Target
from tests.bench.http_side import http_side
from tests.bench.processes import Running, service
from tests.bench.sdk_side import BareConversation
from tests.bench.timed import STAMPED_TURN, Timed
from tests.waiting import until

__all__ = ["measure"]

_TARGETS = (Target("value", 1.15),)
_HIBERNATES_SECONDS = 30
_BESIDE = "bare SDK, connect with resume and query, to its"


async def measure(bench: Bench) -> list[Figure]:
    served: list[Timed] = []
    bare: list[tuple[float, Timed]] = []
    async with (
        service(bench.folder, bench.model.url, idle_session_timeout=1) as running,
        http_side(running.url) as http,
    ):
        session_id, conversation = await http.create("user"), BareConversation(bench.folder, bench.model.url)
        await http.chat(session_id, SHORT_TURN)
        async with conversation.connected() as client:
            await client.turn(SHORT_TURN)
        for _ in range(bench.count(25, 2)):
            await _hibernated(running)
            async with conversation.connected() as client:
                bare.append((client.connect, await client.timed(STAMPED_TURN)))
            served.append(await http.timed(session_id, STAMPED_TURN))
        starts = running.logged("runtime started", "seconds")
    return _figures(served, bare, [seconds * 1000 for seconds in starts[-len(served) :]])


async def _hibernated(running: Running) -> None:
    """No process of the session is left, so nothing of its stop goes on beside the next sample."""
    service_process = psutil.Process(running.pid)
    await until(lambda: not service_process.children(recursive=True), _HIBERNATES_SECONDS)


def _figures(served: list[Timed], bare: list[tuple[float, Timed]], starts: list[float]) -> list[Figure]:
    """`connect` counts as a part of each bare wake: its client did nothing else before it was asked."""
    parts = {
        "start": median(starts),
        "bare_connect": median(connect for connect, _ in bare),
        "to_model": median(turn.to_model_ms for turn in served),
        "bare_to_model": median(connect + turn.to_model_ms for connect, turn in bare),
        "from_model": median(turn.from_model_ms for turn in served),
        "bare_from_model": median(turn.from_model_ms for _, turn in bare),
        "from_first_token": median(turn.whole_ms - turn.first_ms for turn in served),
        "bare_from_first_token": median(turn.whole_ms - turn.first_ms for _, turn in bare),
    }
    return [
        Figure.ratio(
            [turn.first_ms for turn in served],
            [connect + turn.first_ms for connect, turn in bare],
            name="wake.first_token",
            what="a message to a hibernated session, to its first token on /chat/stream",
            beside=f"{_BESIDE} first StreamEvent (ms)",
            targets=_TARGETS,
            details=parts,
        ),
        Figure.ratio(
            [turn.whole_ms for turn in served],
            [connect + turn.whole_ms for connect, turn in bare],
            name="wake.answer",
            what="a message to a hibernated session, to the end of its answer on /chat/stream",
            beside=f"{_BESIDE} ResultMessage (ms)",
            targets=_TARGETS,
            details=parts,
        ),
    ]
