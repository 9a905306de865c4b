"""Sockets that are bound before a server uses them, and what is said where they cannot be had."""

import errno
import socket

import pytest

from claude_agent_http.system import CannotListenError, listeners


def _connects(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def refusal(section: str, host: str, port: int) -> CannotListenError:
    with pytest.raises(CannotListenError) as refused, listeners(section, host, port):
        pass
    return refused.value


def test_a_port_is_had_but_nobody_is_let_in_yet():
    with listeners("api", "127.0.0.1", 0) as (bound,):
        port = bound.getsockname()[1]
        assert not _connects(port)
        bound.listen()
        assert _connects(port)
        refused = refusal("api", "127.0.0.1", port)
    assert refused.in_use
    assert refused.found == f"127.0.0.1:{port} is in use by another program"
    assert f"grep :{port}" in refused.advice
    assert "CLAUDE_AGENT_API_PORT" in refused.advice
    with listeners("api", "127.0.0.1", port):
        pass


def test_every_address_of_a_name_has_the_same_port(monkeypatch: pytest.MonkeyPatch):
    names = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.2", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: names)
    with listeners("api", "two", 0) as bound:
        addresses = [one.getsockname() for one in bound]
    assert [host for host, _ in addresses] == ["127.0.0.1", "127.0.0.2"]
    assert len({port for _, port in addresses}) == 1


def test_an_address_that_the_machine_lacks_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    names = [(socket.AF_INET, 1, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: names)
    with listeners("api", "name", 0) as (bound,):
        assert bound.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a" * 64])
def test_a_host_that_is_none_of_this_machine(host: str):
    refused = refusal("metrics", host, 0)
    assert f"{host} is no address of this machine" in refused.found
    assert refused.advice.startswith("correct metrics.host")
    assert not refused.in_use


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "this user may not listen on port 80; choose a port of 1024 or more (api.port)"),
        (errno.EPERM, "cannot listen on 127.0.0.1:80: said no; correct api.host and api.port"),
    ],
)
def test_other_reasons_are_told_too(number: int, said: str, monkeypatch: pytest.MonkeyPatch):
    def bind(*_: object):
        raise OSError(number, "said no")

    monkeypatch.setattr(socket.socket, "bind", bind)
    assert str(refusal("api", "127.0.0.1", 80)) == said
