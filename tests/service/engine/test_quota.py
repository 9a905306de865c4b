"""What a user may take of the disk."""

import pytest

from claude_agent_http.domain.disk import DiskUsage
from claude_agent_http.domain.errors import QuotaExceededError
from claude_agent_http.domain.turn import ErrorKind
from claude_agent_http.engine import DiskQuota, Limits
from claude_agent_http.runtime.fake import Hang, KnownUsage

MB = 1_000_000


@pytest.fixture
def gauge() -> KnownUsage:
    return KnownUsage()


def limits() -> Limits:
    return Limits(prestart=False, interrupt_grace_seconds=0.3, quota_seconds=0.02)


async def test_a_turn_is_refused_and_says_how_to_go_on(make_harness, gauge):
    async with make_harness(quota=DiskQuota(gauge, 500)) as harness:
        session = await harness.session()
        gauge.used_by["alice"] = DiskUsage(512 * MB)
        with pytest.raises(
            QuotaExceededError, match=r"take 512 MB, and the quota is 500 MB \(user.quota_mb\); delete files"
        ):
            await harness.turn(session, "hi")
        assert await harness.types(session) == []
        assert [one.value for one in harness.telemetry.refusals] == ["quota"]
        assert (await harness.say(await harness.session("bob"), "hi")).error is None
        gauge.used_by["alice"] = DiskUsage(500 * MB)
        assert (await harness.say(session, "hi")).error is None


async def test_what_is_too_much_to_count_is_too_much(make_harness, gauge):
    async with make_harness(quota=DiskQuota(gauge, 500)) as harness:
        gauge.used_by["alice"] = DiskUsage(0, "the user has more than 1000000 files")
        with pytest.raises(QuotaExceededError, match="more than 1000000 files, and the quota is 500 MB"):
            await harness.turn(await harness.session(), "hi")


async def test_a_turn_that_grows_past_it_is_ended_and_says_why(make_harness, gauge):
    async with make_harness(limits(), quota=DiskQuota(gauge, 500)) as harness:
        harness.runtimes.play = lambda _: (Hang(),)
        hers, his = await harness.session(), await harness.session("bob")
        growing, other = await harness.turn(hers, "grow"), await harness.turn(his, "hang")
        gauge.used_by["alice"] = DiskUsage(501 * MB)
        end = await harness.engine.wait(growing, 10)
        assert end.error is not None
        assert end.error.kind is ErrorKind.QUOTA_EXCEEDED
        assert "take 501 MB" in end.error.message
        assert not other.ended.done()
        [error] = [one for one in await harness.log(hers) if one.type == "session.error"]
        assert error.data["error"]["type"] == "quota_exceeded_error"
        assert (await harness.types(hers))[-1] == "session.status_idle"


async def test_off_no_use_is_too_much(make_harness, gauge):
    gauge.used_by["alice"] = DiskUsage(512 * MB, "the user has more than 1000000 files")
    async with make_harness(limits(), quota=DiskQuota(gauge, 0)) as harness:
        assert (await harness.say(await harness.session(), "hi")).error is None
