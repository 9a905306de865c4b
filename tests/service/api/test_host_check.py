"""A service on a loopback address answers to local names only: a web page cannot reach it under its own."""

import httpx
import pytest
from tests.service.api.rig import build, problem

HOSTS = ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LocalHost", "[::1]:8000"]
OTHERS = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "x@localhost",
    "",
]


@pytest.fixture
def ask(tmp_path):
    """The answer of a service that listens there to a request for that host."""

    async def get(listens_on, host, path="/livez"):
        api = build(tmp_path, listens_on=listens_on).api
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers={"Host": host})

    return get


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "localhost", "::1"])
@pytest.mark.parametrize("host", HOSTS)
async def test_local_names_are_answered(ask, listens_on, host):
    assert (await ask(listens_on, host)).status_code == 200


@pytest.mark.parametrize("host", OTHERS)
@pytest.mark.parametrize("path", ["/livez", "/docs", "/api/v1/sessions"])
async def test_other_names_are_refused_with_what_to_do(ask, host, path):
    answer = await ask("127.0.0.1", host, path)
    detail = problem(answer, 421, "misdirected_request")["detail"]
    assert "localhost" in detail
    assert "api.host" in detail
    assert answer.headers["x-request-id"]


async def test_the_address_of_its_own_is_one_of_its_names(ask):
    assert (await ask("127.0.0.7", "127.0.0.7:8000")).status_code == 200
    assert (await ask("127.0.0.1", "127.0.0.7:8000")).status_code == 421


@pytest.mark.parametrize("listens_on", ["0.0.0.0", "::", "192.0.2.1", "agents.example", None])
async def test_a_service_that_others_reach_answers_to_every_name(ask, listens_on):
    assert (await ask(listens_on, "evil.example")).status_code == 200
