"""docs/metrics.md lists what is exported, and its queries and alerts ask for nothing else."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from starlette.testclient import TestClient
from tests.docs.markdown import DOCS, blocks
from tests.service.metrics.readings import Samples

from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.engine import EngineStats
from claude_agent_http.metrics.exposition import create_metrics_app
from claude_agent_http.metrics.prometheus import PrometheusTelemetry
from claude_agent_http.metrics.state import ServiceState

PAGE = DOCS / "metrics.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z_]+)` \| (\w+) \| (.*?) ?\| (.+) \|$", re.M)
ROWS = {name: (kind, labels, meaning) for name, kind, labels, meaning in ROW.findall(TEXT)}
RULES = [
    rule
    for block in blocks(PAGE)
    if block.language == "yaml"
    for group in yaml.safe_load(block.text).get("groups", ())
    for rule in group["rules"]
]
QUERIES = [line for block in blocks(PAGE) if block.language == "promql" for line in block.text.splitlines()]
PARTS = ("_bucket", "_count", "_sum")


def exported() -> str:
    async def look() -> ServiceState:
        stored = dict.fromkeys(SessionStatus, 1)
        return ServiceState(EngineStats(1, 1, 1), 1, stored, leases=1, replicas=1)

    return TestClient(create_metrics_app(PrometheusTelemetry("1.2.3"), look)).get("/metrics").text


EXPORTED = exported()
SAMPLES = Samples(EXPORTED).all
TYPES = dict(re.findall(r"^# TYPE (\w+) (\w+)$", EXPORTED, re.M))
HELP = dict(re.findall(r"^# HELP (\w+) (.+)$", EXPORTED, re.M))


def samples(metric: str) -> list[Any]:
    names = {metric, *(metric + part for part in PARTS)}
    return [sample for sample in SAMPLES if sample.name in names]


def test_every_metric_is_listed_once_and_nothing_else():
    assert sorted(name for name, *_ in ROW.findall(TEXT)) == sorted(TYPES)


@pytest.mark.parametrize("metric", sorted(TYPES))
def test_a_row_has_the_type_the_labels_and_the_meaning(metric: str):
    kind, labels, meaning = ROWS[metric]
    assert kind == TYPES[metric]
    assert set(re.findall(r"`(\w+)`", labels)) == {
        label for one in samples(metric) for label in one.labels
    } - {"le"}
    assert meaning.startswith(HELP[metric])


@pytest.mark.parametrize("metric", sorted(TYPES))
def test_a_row_has_every_value_of_its_label_or_says_where_they_are(metric: str):
    labels, meaning = ROWS[metric][1:]
    name = labels.strip("`")
    if not name or name == "version" or "events.md" in meaning:
        return
    assert {one.labels[name] for one in samples(metric)} <= set(re.findall(r"`(\w+)`", meaning))


def test_there_are_questions_and_alerts():
    assert len(QUERIES) > 5
    assert len(RULES) > 5
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    assert all(rule["annotations"]["summary"] for rule in RULES)


@pytest.mark.parametrize("query", [*QUERIES, *(rule["expr"] for rule in RULES)])
def test_a_query_parses_and_asks_for_what_there_is(query: str):
    found = list(selectors(promql_parser.parse(query)))
    assert found
    for selector in found:
        there = [one for one in SAMPLES if one.name == selector.name]
        assert there, selector.name
        for matcher in selector.matchers.matchers:
            assert all(matcher.name in one.labels for one in there), matcher.name
            values = {one.labels[matcher.name] for one in there}
            assert set(matcher.value.split("|")) <= values, matcher.value


def selectors(expression: Any) -> Iterator[Any]:
    """Whatever series it asks for."""
    match expression:
        case promql_parser.VectorSelector():
            yield expression
        case promql_parser.MatrixSelector():
            yield expression.vector_selector
        case promql_parser.Call():
            for argument in expression.args:
                yield from selectors(argument)
        case promql_parser.BinaryExpr():
            yield from selectors(expression.lhs)
            yield from selectors(expression.rhs)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr():
            yield from selectors(expression.expr)
