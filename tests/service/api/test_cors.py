"""Which pages may call the API: none but those of origins that are named, and never all with credentials."""

import httpx
import pytest
from tests.service.api.rig import build

APP, OTHER = "https://app.example", "https://other.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture
def ask(tmp_path):
    """The CORS headers of an answer to a page of that origin."""

    async def asked(origins, origin, method="GET", **headers):
        transport = httpx.ASGITransport(build(tmp_path, cors_origins=origins).api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.request(method, "/livez", headers={"Origin": origin, **headers})
        return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}

    return asked


@pytest.mark.parametrize(("method", "more"), [("GET", {}), ("OPTIONS", PREFLIGHT)])
async def test_off_unless_an_origin_is_named(ask, method, more):
    assert await ask((), APP, method, **more) == {}


async def test_a_named_origin_may_ask_with_credentials_and_no_other(ask):
    for more in ({}, {"Cookie": "a=b"}):
        headers = await ask((APP,), APP, **more)
        assert headers["access-control-allow-origin"] == APP
        assert headers["access-control-allow-credentials"] == "true"
        assert "access-control-allow-origin" not in await ask((APP,), OTHER, **more)
    preflight = await ask((APP,), APP, "OPTIONS", **PREFLIGHT)
    assert preflight["access-control-allow-origin"] == APP
    assert "access-control-allow-origin" not in await ask((APP,), OTHER, "OPTIONS", **PREFLIGHT)


@pytest.mark.parametrize("origin", ["null", "https://app.example.evil", "http://app.example", f"{APP}:444"])
async def test_what_only_looks_like_the_named_origin_is_another(ask, origin):
    assert "access-control-allow-origin" not in await ask((APP,), origin)


@pytest.mark.parametrize("origins", [("*",), (APP, "*")])
@pytest.mark.parametrize("more", [{}, {"Cookie": "a=b"}])
async def test_all_origins_never_come_with_credentials(ask, origins, more):
    for method, headers in (("GET", {}), ("OPTIONS", PREFLIGHT)):
        told = await ask(origins, OTHER, method, **headers, **more)
        assert told["access-control-allow-origin"] in ("*", OTHER)
        assert "access-control-allow-credentials" not in told
