"""Overlaps that the random lives of test_machine.py found, each in its smallest form."""

from collections.abc import Callable, Iterator

import pytest
from tests.service.engine.machine_checks import check_log
from tests.service.engine.machine_life import Life

from claude_agent_http.domain.errors import BusyError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.engine import Limits


@pytest.fixture
def begun() -> Iterator[Callable[[Limits], Life]]:
    lives = []

    def begin(limits: Limits) -> Life:
        lives.append(Life(limits))
        return lives[-1]

    yield begin
    for life in lives:
        life.process.kill()
        life.loop.close()


@pytest.fixture
def life(begun: Callable[[Limits], Life]) -> Life:
    return begun(
        Limits(max_live_per_user=1, idle_seconds=40, session_ttl_seconds=0, prestart_evicts_after_seconds=0)
    )


def test_a_prestart_that_makes_room_before_it_has_begun_is_not_begun(life: Life) -> None:
    life.create("a")
    life.create("a")
    life.calm_down()
    assert life.runtimes.fake.opened == [life.session(1)]


def test_a_message_too_late_for_its_session_leaves_no_runtime(life: Life) -> None:
    life.create("a")
    life.glide(50)
    life.gates.close("after get")
    sending = life.send(life.session(0), "say")
    life.begin("delete", life.delete(life.session(0)))
    life.go(None)
    life.gates.let_go(1)
    life.go(None)
    assert life.deleted == {life.session(0)}
    life.calm_down()
    assert sending.refused is not None


def test_a_resume_too_late_for_its_session_leaves_no_runtime(life: Life) -> None:
    life.create("a")
    life.glide(50)
    life.gates.close("after set_status")
    life.begin("resume", life.process.engine.resume(life.session(0)))
    life.go(None)
    life.begin("delete", life.delete(life.session(0)))
    life.go(None)
    assert life.deleted == {life.session(0)}
    life.calm_down()


def test_a_turn_ends_once_though_its_end_was_cut_off_while_it_was_stored(life: Life) -> None:
    life.create("a")
    life.go(None)
    life.gates.close("step")
    life.send(life.session(0), "slow")
    life.glide(1)
    life.gates.close("before append")
    life.process.stop(0)
    life.glide(17)
    life.gates.open_all()
    life.glide(1)
    assert life.log(life.session(0))[-1].type is not EventType.STATUS_IDLE  # its lease was given up before
    life.kill_and_start_again()
    life.glide(1)
    log = life.log(life.session(0))
    check_log(log)
    assert log[-1].type is EventType.STATUS_IDLE


def test_what_a_failed_worker_owes_is_stored_when_there_is_room(life: Life) -> None:
    life.create("a")
    life.glide(50)
    life.gates.close("start")
    life.send(life.session(0), "broken")
    life.glide(1)
    life.break_something("disk full", life.session(0))
    life.gates.open_all()
    life.glide(5)
    life.calm_down()


def test_a_message_accepted_while_its_session_is_closed_as_unused_opens_it_again(
    begun: Callable[[Limits], Life],
) -> None:
    life = begun(Limits(prestart=False, session_ttl_seconds=90))
    life.create("a")
    life.calm_down()
    life.gates.close("after get")
    sending = life.send(life.session(0), "say")
    life.glide(200)
    session = life.stored(life.session(0))
    assert session is not None
    assert session.status is SessionStatus.CLOSED
    life.gates.open_all()
    life.glide(1)
    assert sending.end is not None
    session = life.stored(life.session(0))
    assert session is not None
    assert session.status is SessionStatus.ACTIVE


def test_what_a_session_owes_is_stored_though_its_deletion_failed(life: Life) -> None:
    life.create("a")
    life.go(None)
    life.gates.close("step")
    life.send(life.session(0), "slow")
    life.glide(1)
    life.break_something("disk full", life.session(0))
    life.break_something("delete", life.session(0))
    life.begin("delete", life.delete(life.session(0)))
    life.gates.open_all()
    life.glide(20)
    assert life.deleted == set()
    life.calm_down()
    assert life.log(life.session(0))[-1].type is EventType.STATUS_IDLE


def test_a_session_that_waits_for_the_place_of_a_busy_one_is_deleted_at_once(
    begun: Callable[[Limits], Life],
) -> None:
    life = begun(
        Limits(max_live=1, idle_seconds=1000, session_ttl_seconds=0, prestart_evicts_after_seconds=0)
    )
    life.create("a")
    life.calm_down()
    life.gates.close("close")
    life.create("b")  # takes the idle one's place, and waits for it
    life.go(None)
    life.begin("delete", life.delete(life.session(1)))
    life.glide(1)
    assert life.deleted == {life.session(1)}
    life.gates.open_all()


def test_a_session_that_is_being_deleted_keeps_its_place_until_its_turn_has_ended(life: Life) -> None:
    life.create("a")
    life.calm_down()
    life.create("a")
    life.calm_down()
    life.gates.close("step")
    life.send(life.session(0), "slow")
    life.go(None)
    life.begin("delete", life.delete(life.session(0)))
    life.go(0)
    life.begin("resume", life.process.engine.resume(life.session(1)))
    sending = life.send(life.session(1), "say")
    life.go(5)
    assert isinstance(sending.refused, BusyError)
    life.calm_down()


def test_what_a_session_owes_is_left_to_the_next_start_at_the_end_of_the_process(life: Life) -> None:
    life.create("a")
    life.go(None)
    life.gates.close("step")
    life.send(life.session(0), "slow")
    life.glide(1)
    life.break_something("disk full", life.session(0))
    life.break_something("delete", life.session(0))
    life.gates.close("before delete")
    life.begin("delete", life.delete(life.session(0)))
    life.glide(1)
    life.process.stop(0)
    life.glide(1)
    life.gates.open_all()
    life.glide(1)
    life.stop()


def test_a_reader_that_read_a_message_from_the_log_gets_no_deltas_of_it_afterwards(life: Life) -> None:
    life.create("a")
    life.calm_down()
    life.gates.close("before read")
    life.follow(life.session(0), 0, deltas=True)
    life.go(None)
    life.send(life.session(0), "say")
    life.glide(1)
    life.gates.open_all()
    life.calm_down()
    assert life.readers[0].seen == life.log(life.session(0))


def test_a_message_stored_late_leaves_no_trace_of_its_deleted_session(life: Life) -> None:
    life.create("a")
    life.calm_down()
    life.gates.close("after append")
    life.send(life.session(0), "say")
    life.go(None)
    life.begin("delete", life.delete(life.session(0)))
    life.glide(20)
    assert life.deleted == {life.session(0)}
    life.gates.open_all()
    life.glide(1)
    life.follow(life.session(0), 0, deltas=True)
    life.calm_down()
    assert life.readers[0].ended


@pytest.mark.parametrize("held", ["close", "after delete", "forget"])
def test_a_deletion_goes_on_though_its_client_goes_away(life: Life, held: str) -> None:
    life.create("a")
    life.calm_down()
    life.follow(life.session(0), 0, deltas=False)
    life.go(None)
    life.gates.close(held)
    life.begin("delete", life.process.engine.delete(life.session(0)))
    life.go(None)
    life.process.give_up(1)  # the reader is the first
    life.gates.open_all()
    life.glide(1)
    assert life.stored(life.session(0)) is None
    assert life.readers[0].deleted
    life.calm_down()
