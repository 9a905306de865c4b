"""Behind which proxy the model API is sought."""

import pytest
from yarl import URL

from claude_agent_http.gateway.proxies import Proxies, ProxyKindError

MODEL = URL("https://model.example:8443/v1")


@pytest.mark.parametrize(
    ("found", "proxy"),
    [
        ({}, None),
        ({"https": "http://proxy:3128"}, "http://proxy:3128"),
        ({"http": "http://proxy:3128"}, None),
        ({"all": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https": "http://one:1", "all": "http://two:2"}, "http://one:1"),
        ({"https": "proxy:3128"}, "http://proxy:3128"),
        ({"https": "http://proxy:3128", "no": "other.example,model.example"}, None),
        ({"https": "http://proxy:3128", "no": ".example"}, None),
        ({"https": "http://proxy:3128", "no": "model.example:8443"}, None),
        ({"https": "http://proxy:3128", "no": "model.example:1"}, "http://proxy:3128"),
        ({"https": "http://proxy:3128", "no": "*"}, None),
    ],
)
def test_the_environment_decides(found: dict[str, str], proxy: str | None) -> None:
    assert Proxies(found).before(MODEL) == (None if proxy is None else URL(proxy))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_this_machine_is_behind_none(host: str) -> None:
    assert Proxies({"all": "http://proxy:3128"}).before(URL(f"http://{host}:1/")) is None


def test_another_kind_of_proxy_is_an_error() -> None:
    with pytest.raises(ProxyKindError, match="socks5"):
        Proxies({"all": "socks5://proxy:1080"}).before(MODEL)
