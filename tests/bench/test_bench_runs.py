"""The benchmark runs from end to end; how fast the service is, is not for a test to say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bench.figure import Figure, NotMeasured, Target, quantile
from tests.bench.program import MEASURES
from tests.bench.report import write_docs

RUN = Path(__file__).with_name("run.py")
LIMIT_SECONDS = 110

# Several runs, so that each fits into the time of a test.
TURNS = {
    "create": {"create_session", "http_floor"},
    "warm_turn": {
        "warm_turn.chat.1_session",
        "warm_turn.stream.1_session",
        "warm_turn.chat.2_sessions",
        "warm_turn.stream.2_sessions",
        "warm_turn.chat.2_sessions_2_at_once",
        "warm_turn.stream.2_sessions_2_at_once",
        "live_session.memory",
        "live_session.service_cpu_per_turn",
    },
    "first_token": {"first_token"},
}
STORES = {
    "stored": {
        "stored.list_of_user",
        "stored.list_1000",
        "stored.list_all",
        "stored.read",
        "stored.read_events",
    },
    "readers": {"readers.memory", "readers.append"},
    "append": {"append.sqlite.messages", "append.sqlite.tools"},
    "postgres_engine": {"append.postgres.messages", "append.postgres.two_engines"},
    "cross_replica": {"cross_replica.append"},
    "launch": {"launch.added"},
    "memory": {"service_memory.after_start", "service_memory.first_start", "service_memory"},
}
MORE = {
    "first_turn": {"first_turn.after_2s", "first_turn.first_token.after_2s", "first_turn.at_once"},
    "wake": {"wake.first_token", "wake.answer"},
    "gateway": {"gateway_first_token", "gateway_paced_streams"},
    "many_on_few": {"many_on_few.throughput", "many_on_few.errors"},
    "hibernated": {"hibernated.20_sessions", "hibernated.40_sessions"},
}
RUNS = [
    pytest.param(TURNS, id="turns"),
    pytest.param(STORES, id="stores"),
    # Half a minute, which every run of the tests would cost.
    pytest.param(MORE, id="more", marks=pytest.mark.in_proofs),
]
WITH_BARE_SDK = (
    "warm_turn.",
    "first_turn.",
    "first_token",
    "live_session.memory",
    "wake.",
    "hibernated.",
    "many_on_few.throughput",
)
# In so few samples what the service adds may drown in the noise; and an error there should not be.
MAY_BE_ZERO = ("warm_turn.", "launch.added", "gateway_first_token", "readers.memory", "many_on_few.errors")
MAY_BE_MISSING = {"append.postgres.messages", "append.postgres.two_engines", "cross_replica.append"}


def test_every_measure_is_tried():
    assert TURNS.keys() | STORES.keys() | MORE.keys() == MEASURES.keys()


@pytest.mark.tier("cli", "linux")
@pytest.mark.timeout(LIMIT_SECONDS + 10)
@pytest.mark.parametrize("measures", RUNS)
def test_a_quick_run_measures_every_figure(tmp_path, measures):
    written = tmp_path / "figures.jsonl"
    # A credential or a setting of whoever runs the tests must reach neither side.
    environment = {**os.environ, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "CLAUDE_AGENT_PRESTART": "no"}
    chosen = [argument for name in measures for argument in ("--only", name)]
    ended = subprocess.run(
        [sys.executable, RUN, "--quick", "--json", written, *chosen],
        env=environment,
        text=True,
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    findings = {line["name"]: line for line in map(json.loads, written.read_text().splitlines())}
    assert findings.keys() == set().union(*measures.values())
    assert all(name in ended.stdout for name in findings)
    missing = {name for name, finding in findings.items() if finding.get("not_measured")}
    assert missing <= MAY_BE_MISSING
    for name in findings.keys() - missing:
        check_figure(name, findings[name])


def check_figure(name, figure):
    assert figure["value"] > 0 or name.startswith(MAY_BE_ZERO), figure
    assert figure["n"] > 0
    assert (figure["met"] is None) == (figure["target"] is None), figure
    assert figure["environment"]["quick"] is True
    if name.startswith(WITH_BARE_SDK):
        assert "bare" in figure["compared_with"]["name"]
        assert all(value > 0 for key, value in figure["compared_with"].items() if key != "name")
    if name == "many_on_few.errors":
        assert figure["value"] == 0, figure


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.01, 1), (1.0, 100)])
def test_a_quantile_is_the_sample_of_the_nearest_rank(share, expected):
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_the_quantiles_of_one_sample_are_that_sample():
    assert quantile([7.0], 0.5) == quantile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(("p99", "met"), [(25.0, True), (25.1, False)])
def test_every_target_of_a_figure_has_to_be_met(p99, met):
    targets = (Target("p50", 5), Target("p99", 25))
    assert Figure("f", "", "ms", 1, 1, p50=5, p99=p99, targets=targets).met is met


@pytest.mark.parametrize(("rate", "met"), [(5000, True), (4999, False)])
def test_a_target_may_be_a_least_value(rate, met):
    assert Figure("f", "", "events/s", rate, 1, targets=(Target("value", 5000, at_least=True),)).met is met


def test_a_ratio_is_of_the_medians_and_its_quantiles_of_the_pairs():
    figure = Figure.ratio(
        [2.0, 6.0, 40.0],
        [1.0, 4.0, 10.0],
        name="f",
        what="it",
        beside="bare",
        targets=(Target("value", 1.4),),
    )
    assert (figure.value, figure.p50, figure.p99) == (1.5, 2.0, 4.0)
    assert figure.met is False


def test_what_was_not_measured_is_in_the_table_with_its_reason_and_without_a_number(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text((RUN.parents[2] / "docs" / "performance.md").read_text())
    write_docs(page, [NotMeasured("a_figure", "what it is", "there is no database")], {"cpu": "some cpu"})
    assert "| a_figure | not measured |  |  |  |  |  | there is no database |" in page.read_text()


def test_the_table_replaces_what_stood_between_the_markers_and_nothing_else(tmp_path):
    page = tmp_path / "performance.md"
    docs = (RUN.parents[2] / "docs" / "performance.md").read_text()
    page.write_text(docs)
    figure = Figure("a_figure", "what it is", "ms", 1.5, 3, targets=(Target("value", 2),))
    for _ in range(2):
        write_docs(page, [figure], {"cpu": "some cpu"})
    written = page.read_text()
    assert written.count("| a_figure | 1.5 ms |  |  | 3 | <= 2 | yes |  |") == 1
    assert "some cpu" in written
    begin, end = "<!-- figures:", "<!-- end of figures -->"
    assert written.partition(begin)[0] == docs.partition(begin)[0]
    assert written.partition(end)[2] == docs.partition(end)[2]
