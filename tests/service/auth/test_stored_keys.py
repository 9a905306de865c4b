"""Keys of the store: who they are, how long they are believed, and what trying them costs."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given, strategies
from tests.service.auth.conftest import made
from tests.waiting import until

from claude_agent_http.auth import Callers, KeyUse, StoredKeys
from claude_agent_http.auth.stored_keys import FRESH_SECONDS
from claude_agent_http.domain.api_key import ID_BYTES, SECRET_BYTES, KeyScope, digest_of, key_id_of, key_text
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import (
    CredentialMissingError,
    InvalidInputError,
    NotAuthenticatedError,
    StorageError,
)


@given(strategies.binary(min_size=ID_BYTES, max_size=ID_BYTES), strategies.binary(min_size=32, max_size=32))
def test_every_key_has_one_form_and_holds_its_bytes(id_bytes: bytes, secret: bytes):
    text = key_text(id_bytes, secret)
    assert len(text) == 70
    assert text.startswith("cah_")
    assert key_id_of(text) == text.split("_")[1]
    number = sum(
        "0123456789abcdefghjkmnpqrstvwxyz".index(letter) << 5 * place
        for place, letter in enumerate(reversed(text.split("_")[2]))
    )
    assert (number >> 4).to_bytes(SECRET_BYTES) == secret


@pytest.mark.parametrize("text", ["", "cah_", "cah_x_y", "sk-ant-123", "CAH_" + "0" * 67, "a.b.c"])
async def test_other_texts_are_no_keys_of_ours(stored, keys, text):
    assert key_id_of(text) is None
    assert await stored.recognize(text) is None
    assert keys.read == []


@pytest.mark.parametrize(
    ("scope", "caller"),
    [
        (KeyScope("alice"), Caller("alice")),
        (KeyScope("alice", is_admin=True), Caller("alice", is_admin=True)),
        (KeyScope(acts_for_any=True), Caller(acts_for_any=True)),
        (KeyScope(is_admin=True), Caller(is_admin=True)),
    ],
)
async def test_a_key_opens_what_its_scope_says(stored, give, scope, caller):
    new = await give(scope)
    found = await stored.recognize(new.text)
    assert (found.user_id, found.acts_for_any, found.is_admin) == (
        caller.user_id,
        caller.acts_for_any,
        caller.is_admin,
    )
    assert found.credential == f"key:{new.key.id}"


@pytest.mark.parametrize("scope", [KeyScope(), KeyScope("alice", acts_for_any=True)])
def test_a_scope_says_one_thing(scope):
    with pytest.raises(InvalidInputError, match="user_id"):
        scope.check()


async def test_neither_the_secret_nor_its_digest_is_shown(give):
    new = await give()
    assert new.text.split("_")[2] not in repr(new.key)
    assert new.key.digest not in repr(new.key)
    assert new.key.digest == digest_of(new.text) != new.text


async def test_a_wrong_secret_and_an_unknown_id_are_refused_alike(stored, give, clock):
    new = await give()
    wrong = new.text[:-1] + ("0" if new.text[-1] != "0" else "1")
    said = []
    for text in (wrong, made(clock.now()).text):
        with pytest.raises(NotAuthenticatedError) as caught:
            await stored.recognize(text)
        assert text not in str(caught.value)
        said.append(str(caught.value))
    assert said[0] == said[1]


async def test_a_key_expires_at_its_time(stored, give, clock, uses):
    new = await give(expires_at=clock.now() + timedelta(seconds=1))
    assert await stored.recognize(new.text)
    uses.clear()
    clock.advance(1)
    with pytest.raises(NotAuthenticatedError, match="expired at 2026-01-01T00:00:01"):
        await stored.recognize(new.text)
    assert uses == {}


async def test_a_warm_key_costs_no_read_and_a_revoked_one_dies_in_time(stored, keys, give, clock):
    new = await give()
    for _ in range(100):
        await stored.recognize(new.text)
    assert keys.read == [new.key.id]
    await keys.revoke(new.key.id, clock.now())  # on another replica
    clock.advance(FRESH_SECONDS - 0.01)
    assert await stored.recognize(new.text)
    clock.advance(0.01)
    with pytest.raises(NotAuthenticatedError, match="it was revoked"):
        await stored.recognize(new.text)


async def test_a_key_that_was_revoked_here_is_dead_at_once(stored, keys, give, clock):
    new = await give()
    await stored.recognize(new.text)
    await keys.revoke(new.key.id, clock.now())
    stored.forget(new.key.id)
    with pytest.raises(NotAuthenticatedError, match="it was revoked"):
        await stored.recognize(new.text)


async def test_a_new_key_is_taken_at_once_unless_it_was_tried_before(stored, keys, clock):
    new = made(clock.now())
    for _ in range(2):
        with pytest.raises(NotAuthenticatedError):
            await stored.recognize(new.text)
    assert keys.read == [new.key.id]
    await keys.add(new.key)
    clock.advance(FRESH_SECONDS)
    assert await stored.recognize(new.text)
    other = made(clock.now())
    await keys.add(other.key)
    assert await stored.recognize(other.text)


class SlowReads:
    """Keys of the store are read when `gate` is set, but for one; `most` were being read at once."""

    def __init__(self, keys, at_once: str) -> None:
        self.gate = asyncio.Event()
        self.most = 0
        self._reading = 0
        self._get, self._at_once = keys.get, at_once
        keys.get = self._read

    async def _read(self, key_id):
        if key_id == self._at_once:
            return await self._get(key_id)
        self._reading += 1
        self.most = max(self.most, self._reading)
        await self.gate.wait()
        self._reading -= 1
        return None


async def test_who_tries_many_keys_makes_few_reads_at_once_and_holds_up_nobody_who_is_known(
    stored, keys, give, clock
):
    new = await give()
    await stored.recognize(new.text)
    clock.advance(FRESH_SECONDS)
    reads = SlowReads(keys, new.key.id)
    tries = [asyncio.create_task(stored.recognize(made(clock.now()).text)) for _ in range(1_000)]
    refused = await asyncio.wait_for(_some(tries, 900), 5)
    assert all(isinstance(task.exception(), StorageError) for task in refused)
    assert await asyncio.wait_for(stored.recognize(new.text), 5)
    reads.gate.set()
    await asyncio.gather(*tries, return_exceptions=True)
    assert reads.most == 4
    assert await stored.recognize(new.text)


async def test_suspects_hold_up_nobody_from_elsewhere(stored, keys, give, clock):
    new = await give()
    reads = SlowReads(keys, new.key.id)
    tries = [
        asyncio.create_task(stored.recognize(made(clock.now()).text, suspect=True)) for _ in range(1_000)
    ]
    refused = await asyncio.wait_for(_some(tries, 900), 5)
    assert all(isinstance(task.exception(), StorageError) for task in refused)
    assert await asyncio.wait_for(stored.recognize(new.text), 5)  # which nobody has read before
    reads.gate.set()
    await asyncio.gather(*tries, return_exceptions=True)
    assert reads.most == 2


async def _some(tasks, count):
    await until(lambda: sum(task.done() for task in tasks) >= count)
    return [task for task in tasks if task.done()]


async def test_a_herd_on_one_cold_key_reads_it_few_times(stored, keys, give):
    new = await give()
    assert all(await asyncio.gather(*(stored.recognize(new.text) for _ in range(50))))
    assert len(keys.read) <= 8


async def test_a_database_that_fails_is_no_wrong_key(stored, keys, give):
    new = await give()

    async def broken(key_id):
        raise StorageError("the database does not answer")

    keys.get = broken
    with pytest.raises(StorageError):
        await stored.recognize(new.text)


async def test_callers_ask_for_a_credential_and_refuse_what_nobody_knows(stored, give):
    callers = Callers([stored])
    with pytest.raises(CredentialMissingError):
        await callers.caller(None)
    with pytest.raises(NotAuthenticatedError, match="not known"):
        await callers.caller("something else")
    assert (await callers.caller((await give()).text)).user_id == "alice"


async def test_the_last_use_is_written_now_and_then_and_at_the_end(keys, give, clock):
    new, other = await give(), await give()
    written = []
    write = keys.used

    async def noted(times):
        written.append(dict(times))
        await write(times)

    keys.used = noted
    use = KeyUse(keys, every_seconds=0.05)
    stored = StoredKeys(keys, clock, use.note)
    async with use.kept():
        for _ in range(20):
            await stored.recognize(new.text)
        await until(lambda: any(written))
        assert [times for times in written if times] == [{new.key.id: clock.now()}]
        clock.advance(1)
        await stored.recognize(other.text)
    assert (await keys.get(other.key.id)).last_used_at == clock.now()


async def test_a_use_that_cannot_be_written_is_only_told(keys, give, clock):
    async def broken(times):
        raise StorageError("the database does not answer")

    keys.used = broken
    use = KeyUse(keys, every_seconds=0.01)
    async with use.kept():
        use.note("id", clock.now())
