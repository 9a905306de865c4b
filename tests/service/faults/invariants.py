"""What holds of any number of replicas and their clients, whatever happens to them.

Each invariant is a function from a history to complaints; `broken` asks them all.
"""

import math
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

from tests.service.engine.machine_checks import check_log
from tests.service.faults.history import (
    Agent,
    Claimed,
    Deleted,
    History,
    Left,
    Lives,
    Ran,
    Read,
    Released,
    Sent,
    Told,
    Wrote,
)

from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.vocabulary import text_of

Complaints = Iterator[str]
_OF_AN_AGENT = (EventType.MODEL_REQUEST_START, EventType.AGENT_MESSAGE, EventType.AGENT_TOOL_STARTED)
_ROUNDING = 1e-5  # seconds: stores keep microseconds
_OF_A_TURN = (EventType.STATUS_RUNNING, EventType.STATUS_RESCHEDULED, EventType.STATUS_IDLE)


def broken(history: History) -> list[str]:
    """Every complaint, behind the name of its invariant; empty when all hold."""
    return [
        f"{invariant.__name__}: {complaint}" for invariant in INVARIANTS for complaint in invariant(history)
    ]


def unjudged(history: History) -> list[str]:
    """The invariants that hold of this history because it has no fact that could break them."""
    seen = {type(fact) for fact in history.facts}
    return [invariant.__name__ for invariant, kinds in _JUDGED_BY.items() if not seen.issuperset(kinds)]


def seqs_are_dense(history: History) -> Complaints:
    for session, log in history.logs.items():
        if [event.seq for event in log] != list(range(1, len(log) + 1)):
            yield f"{session} has the seqs {[event.seq for event in log]}"
        if len({event.id for event in log}) < len(log):
            yield f"{session} holds an event twice"


def no_acknowledgement_is_lost(history: History) -> Complaints:
    """A message that was acknowledged stands in the log once, one that was refused never; what a replica was
    told is stored stands where it was told."""
    for session, log in history.logs.items():
        count = Counter(text_of(event.data) for event in log if event.type is EventType.USER_MESSAGE)
        for sent in history.of(Sent, session):
            least, most = {True: (1, 1), False: (0, 0), None: (0, 1)}[sent.stored]
            if not least <= count[sent.text] <= most:
                yield f"{session} holds {count[sent.text]} of {sent}"
        for wrote in history.of(Wrote, session):
            if [log[event.seq - 1 : event.seq] for event in wrote.events] != [
                [each] for each in wrote.events
            ]:
                yield f"{session} does not hold {wrote}"


def each_turn_ends_once(history: History) -> Complaints:
    for session, log in history.logs.items():
        ends = Counter(event.turn_id for event in log if event.type is EventType.STATUS_IDLE)
        turns = [event.id for event in log if event.type is EventType.USER_MESSAGE]
        for turn in turns:
            may_run = turn == turns[-1] and not history.is_settled
            if ends[turn] != 1 and not (may_run and not ends[turn]):
                yield f"{session}: turn {turn} has ended {ends[turn]} times"


def one_turn_at_a_time(history: History) -> Complaints:
    for session, log in history.logs.items():
        turn: str | None = None
        for event in log:
            if event.type is EventType.USER_MESSAGE:
                if turn is not None:
                    yield f"{session}: turn {event.id} begins within {turn}"
                turn = event.id
            elif event.type in _OF_A_TURN and event.turn_id != turn:
                yield f"{session}: {event.type} of {event.turn_id} at {event.seq} stands in {turn}"
            if event.type is EventType.STATUS_IDLE:
                turn = None


def only_turns_without_tools_are_run_again(history: History) -> Complaints:
    for session, log in history.logs.items():
        started: set[str | None] = set()
        for event in log:
            if event.type is EventType.AGENT_TOOL_STARTED:
                started.add(event.turn_id)
            if event.type is EventType.STATUS_RESCHEDULED and event.turn_id in started:
                yield f"{session}: {event.turn_id} is run again at {event.seq} though a tool has started"


def logs_are_sound(history: History) -> Complaints:
    """All that a log promises where one replica writes it."""
    for session, log in history.logs.items():
        try:
            check_log(_without_late_interrupts(log))
        except AssertionError as error:
            yield f"{session}: {traceback.extract_tb(error.__traceback__)[-1].line} {error}"


def _without_late_interrupts(log: Sequence[Event]) -> list[Event]:
    """Who interrupts a turn elsewhere may be a moment late, and does nothing then. The rest moves up."""
    kept, turn = list[Event](), None
    for event in log:
        if event.type is EventType.USER_MESSAGE:
            turn = event.id
        if event.type is not EventType.USER_INTERRUPT or event.turn_id == turn:
            kept.append(replace(event, seq=len(kept) + 1))
        if event.type is EventType.STATUS_IDLE:
            turn = None
    return kept


def a_turn_is_taken_up_openly(history: History) -> Complaints:
    """Whoever goes on with a turn that another has begun says so first, or only ends it."""
    for session, log in history.logs.items():
        epochs = {event.seq: one.epoch for one in history.of(Wrote, session) for event in one.events}
        begun: dict[str | None, int] = {}
        for event in log:
            if event.type is EventType.STATUS_RESCHEDULED:
                begun.pop(event.turn_id, None)
            epoch = epochs.get(event.seq)
            if event.type not in _OF_AN_AGENT or epoch is None:
                continue
            if begun.setdefault(event.turn_id, epoch) != epoch:
                yield f"{session}: epoch {epoch} goes on with {event.turn_id} of {begun[event.turn_id]}"


def one_owner_an_epoch(history: History) -> Complaints:
    """Epochs grow, and a lease is won only when whoever had it before, be it long before, gave it up or ran
    out of time."""
    for session in history.sessions:
        claims = sorted(history.of(Claimed, session), key=lambda claim: claim.epoch)
        for former, later in pairwise(claims):
            if former.epoch == later.epoch and former.replica != later.replica:
                yield f"{session}: {former} and {later}"
            if later.at < former.began:
                yield f"{session}: {later} came before {former}"
        for former, later in combinations(claims, 2):
            if not later.by_force and _still_holds(history, former, later):
                yield f"{session}: {later} took it from {former}, who still had it"


def _still_holds(history: History, former: Claimed, later: Claimed) -> bool:
    if former.replica == later.replica:
        return False
    given_up = [fact.epoch for fact in history.of(Released, former.session)]
    left = [fact.replica for fact in history.all(Left)]
    stays = [each for each in history.all(Lives) if each.replica == former.replica and each.at < later.began]
    until = max((each.until for each in stays), default=0.0)
    return former.epoch not in given_up and former.replica not in left and later.at < until - _ROUNDING


def former_owners_write_nothing(history: History) -> Complaints:
    for session in history.sessions:
        claims = history.of(Claimed, session)
        wrote = [one for one in history.of(Wrote, session) if one.epoch is not None]
        for one in wrote:
            newer = [claim for claim in claims if claim.epoch > one.epoch and claim.at < one.began]
            if newer:
                yield f"{session}: {one} was written behind {newer[0]}"
        by_seq = sorted({(event.seq, one.epoch) for one in wrote for event in one.events})
        for (seq, epoch), (behind, later) in pairwise(by_seq):
            if later < epoch:
                yield f"{session}: epoch {later} wrote {behind} behind {seq}, which epoch {epoch} wrote"


def tools_run_under_the_lease(history: History) -> Complaints:
    """Once each, after their start is in the log, and under the current epoch; when a deletion takes the
    session by force, until it is acknowledged."""
    for session in history.sessions:
        log = history.logs.get(session)
        started = None if log is None else _tools_started(log)
        ran = history.of(Ran, session)
        for use, count in Counter(run.use for run in ran).items():
            if count > 1:
                yield f"{session}: tool {use} ran {count} times"
            if started is not None and use not in started:
                yield f"{session}: tool {use} ran without its start in the log"
        for run in ran:
            for claim in history.of(Claimed, session):
                is_newer = run.epoch is not None and claim.epoch > run.epoch and claim.at < run.at
                if is_newer and not claim.by_force:
                    yield f"{session}: {run} came behind {claim}"


def _tools_started(log: Sequence[Event]) -> set[str]:
    return {event.data["tool_use_id"] for event in log if event.type is EventType.AGENT_TOOL_STARTED}


def one_agent_a_session(history: History) -> Complaints:
    """An agent starts when the former one has ended, wherever it lived."""
    for session in history.sessions:
        agents = sorted(history.of(Agent, session), key=lambda agent: (agent.start, agent.epoch))
        for former, later in pairwise(agents):
            if former.end is None or later.start < former.end:
                yield f"{session}: {later} began within {former}"


def what_is_deleted_is_gone(history: History) -> Complaints:
    for session in history.created:
        if session not in history.logs and session not in history.doomed:
            yield f"{session} is gone, and nobody deleted it"
    for session in history.sessions:
        for deleted in history.of(Deleted, session):
            if session in history.logs:
                yield f"{session} is there though its deletion was acknowledged"
            late: list[object] = [ran for ran in history.of(Ran, session) if ran.at > deleted.at]
            late += [wrote for wrote in history.of(Wrote, session) if wrote.began > deleted.at]
            late += [agent for agent in history.of(Agent, session) if (agent.end or math.inf) > deleted.at]
            if late:
                yield f"{session}: {late[0]} goes beyond its deletion at {deleted.at}"


def readers_see_the_log(history: History) -> Complaints:
    """Every event once and in order; when all is settled, to the end."""
    for read in history.all(Read):
        seqs = [event.seq for event in read.events]
        if seqs != list(range(read.after + 1, read.after + len(seqs) + 1)):
            yield f"a reader of {read.session} behind {read.after} saw {seqs}"
        log = history.logs.get(read.session)
        known = {each.seq: each for wrote in history.of(Wrote, read.session) for each in wrote.events}
        known.update({event.seq: event for event in log or ()})
        wrong = [event for event in read.events if known.get(event.seq, event) != event]
        if wrong:
            yield f"a reader of {read.session} saw {wrong[0]}, which is not what was stored"
        if history.is_settled and log is not None and read.after + len(seqs) < len(log):
            yield f"a reader of {read.session} waits at {read.after + len(seqs)} of {len(log)}"


def who_waits_is_told_the_truth(history: History) -> Complaints:
    """A turn that ended well for whoever waited ended so in the log. (Of one that was interrupted, a replica
    that cannot store the end tells it all the same; another may run the turn again.)"""
    for told in history.all(Told):
        log = history.logs.get(told.session)
        if log is None or told.end.error is not None or told.end.interrupted is not None:
            continue
        reason = {"type": told.end.stop_reason.value}
        stored = [
            event.data["stop_reason"]
            for event in log
            if (event.type, event.turn_id) == (EventType.STATUS_IDLE, told.turn)
        ]
        if stored != [reason]:
            yield f"{told.session}: the log has {stored} of {told}"


INVARIANTS: tuple[Callable[[History], Complaints], ...] = (
    seqs_are_dense,
    no_acknowledgement_is_lost,
    each_turn_ends_once,
    one_turn_at_a_time,
    only_turns_without_tools_are_run_again,
    logs_are_sound,
    a_turn_is_taken_up_openly,
    one_owner_an_epoch,
    former_owners_write_nothing,
    tools_run_under_the_lease,
    one_agent_a_session,
    what_is_deleted_is_gone,
    readers_see_the_log,
    who_waits_is_told_the_truth,
)

_JUDGED_BY: dict[Callable[[History], Complaints], tuple[type[object], ...]] = {
    no_acknowledgement_is_lost: (Sent, Wrote),
    a_turn_is_taken_up_openly: (Wrote,),
    one_owner_an_epoch: (Claimed, Released, Lives),
    former_owners_write_nothing: (Claimed, Wrote),
    tools_run_under_the_lease: (Ran, Claimed),
    one_agent_a_session: (Agent,),
    what_is_deleted_is_gone: (Deleted, Agent, Ran, Wrote),
    readers_see_the_log: (Read,),
    who_waits_is_told_the_truth: (Told,),
}
"""By what facts; the others are judged by the logs alone."""
