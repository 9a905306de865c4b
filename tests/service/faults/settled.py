"""What must come of a world once nothing is in its way any more."""

from datetime import timedelta
from functools import partial

from tests.service.faults.clients import Message
from tests.service.faults.invariants import broken
from tests.service.faults.replica import Replica
from tests.service.faults.world import World

from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.domain.vocabulary import timeout_of

_TRIES = 20


def settle(world: World) -> None:
    """Everything comes to its end, every reader has seen it all, and each session answers, at any replica.
    Raises AssertionError with every complaint."""
    _mend(world)
    _come_to_rest(world)
    for replica in world.replicas:
        world.complaints += [f"{name} got no answer" for name in replica.unanswered]
    for _ in range(len(world.readers)):
        world.move(world.dice.randrange(len(world.replicas)), 0)
    _talk_on(world)
    world.wait(2 * world.limits.poll_seconds)
    check(world, is_settled=True)


def leave(world: World) -> None:
    """Every replica is drained, and nothing of it is left. Raises AssertionError."""
    for slot in range(len(world.replicas)):
        world.drain(slot, 0)
    world.until(lambda: all(replica.over for replica in world.replicas), 30)
    late = [slot for slot, replica in enumerate(world.replicas) if not replica.over]
    world.complaints += [f"replica {slot} drains for ever" for slot in late]
    check(world, is_settled=False)


def check(world: World, *, is_settled: bool) -> None:
    complaints = [*world.complaints, *broken(world.history(is_settled=is_settled))]
    complaints += [complaint for replica in world.replicas for complaint in replica.complaints]
    complaints += [complaint for _, reader in world.readers for complaint in reader.complaints]
    assert not complaints, "\n".join(complaints)


def _mend(world: World) -> None:
    for slot in range(len(world.replicas)):
        world.go_on(slot)
        world.mend(slot)
    world.let_all_go()


def _come_to_rest(world: World) -> None:
    """Turns that hang are interrupted, and who was drained starts again."""
    _end_what_is_to_end(world)
    running: list[str] = []
    for _ in range(_TRIES):
        world.wait(world.limits.lease_seconds)
        for slot in range(len(world.replicas)):
            world.start_again(slot)
        running = [each.id for each in world.stored() if each.phase is SessionPhase.RUNNING]
        if not running and all(replica.serves and not replica.drains for replica in world.replicas):
            world.wait(world.limits.lease_seconds)
            return
        world.let_all_go()
        for session in running:
            world.interrupt(world.dice.randrange(len(world.replicas)), world.asked.index(session))
    world.complaints.append(f"turns that do not end: {running}")


def _end_what_is_to_end(world: World) -> None:
    """A turn that was interrupted, or whose time is up, ends without another word."""
    for _ in range(_TRIES):
        for slot in range(len(world.replicas)):
            world.start_again(slot)
        if all(replica.serves and not replica.drains for replica in world.replicas):
            break
        world.wait(world.limits.lease_seconds)
    if not world.until(lambda: not _overdue(world), 4 * world.limits.lease_seconds):
        world.complaints.append(f"turns_end_in_time: still running are {_overdue(world)}")


def _overdue(world: World) -> list[str]:
    return [session.id for session in world.stored() if _is_overdue(world, session)]


def _is_overdue(world: World, session: Session) -> bool:
    if session.phase is SessionPhase.IDLE:
        return False
    log = world.log(session.id)
    message = next(event for event in reversed(log) if event.type is EventType.USER_MESSAGE)
    until = message.processed_at + timedelta(seconds=timeout_of(message.data, world.limits.turn_seconds))
    is_interrupted = (EventType.USER_INTERRUPT, message.id) in {(event.type, event.turn_id) for event in log}
    return is_interrupted or world.time.clock.now() > until


def _talk_on(world: World) -> None:
    for session in world.stored():
        slot, number = world.dice.randrange(len(world.replicas)), world.asked.index(session.id)
        if session.status is SessionStatus.CLOSED:
            world.resume(slot, number)
            world.until(partial(_is_answered, world.at(slot)))
        if trouble := _trouble_with_a_message(world, slot, number):
            world.complaints.append(f"{session.id}, asked at {slot}: {trouble}")


def _is_answered(replica: Replica) -> bool:
    return not replica.unanswered


def _is_over(message: Message) -> bool:
    return message.end is not None or message.refused is not None


def _trouble_with_a_message(world: World, slot: int, number: int) -> str | None:
    message = None
    for _ in range(_TRIES):
        message = world.send(slot, number, "say")
        if message is not None:
            world.until(partial(_is_over, message))
            if message.end is not None:
                return None if message.end.error is None else str(message.end)
        world.wait(0.5)  # it may have been busy for a moment
    return "takes no message" if message is None else f"{message.refused!r}"
