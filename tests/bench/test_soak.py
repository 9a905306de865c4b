"""The soak sees what grows and passes what does not, and a short one of the real service passes."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.bench.soak.samples import QUANTITIES, Sample
from tests.bench.soak.slope import fit
from tests.bench.soak.verdict import LIMITS, growth, left_behind

RUN = Path(__file__).with_name("soak") / "run.py"
LIMIT_SECONDS = 100
STILL = Sample(0, 120.0, 400.0, 60, 6, 12, 40, 5.0, 3)
HALF_AN_HOUR = range(0, 1800, 5)


@pytest.mark.tier("cli", "linux")
@pytest.mark.timeout(LIMIT_SECONDS + 10)
def test_a_short_soak_keeps_the_service_busy_and_finds_nothing(tmp_path):
    written = tmp_path / "soak.jsonl"
    ended = subprocess.run(
        [sys.executable, RUN, "--minutes", "0.2", "--every", "1", "--json", written],
        text=True,
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert written.exists(), ended.stderr
    figures = {line["name"]: line for line in map(json.loads, written.read_text().splitlines())}
    # What so short a run makes of its growth hangs on the machine; what it left behind does not.
    steady = [one for name, one in figures.items() if not name.startswith("soak.growth.")]
    assert [one for one in steady if one["met"] is False] == [], ended.stderr
    assert ended.returncode == int(any(one["met"] is False for one in figures.values()))
    assert {f"soak.growth.{name}" for name in QUANTITIES} < figures.keys()
    done = figures["soak.sessions"]["details"]
    assert min(done[name] for name in ("turns", "interrupted turns", "reads", "deletions")) >= 2
    assert done["readers to the end"] == done["sessions"]
    assert all(name in ended.stdout for name in figures)
    samples = list(map(json.loads, (tmp_path / "soak-samples.jsonl").read_text().splitlines()))
    assert len(samples) >= 8
    assert min(sample[name] for sample in samples for name in ("service_memory", "tasks")) > 0


@pytest.mark.parametrize("limit", LIMITS.values(), ids=list(LIMITS))
def test_the_limits_stand_in_the_documentation(limit):
    page = (RUN.parents[3] / "docs" / "performance.md").read_text()
    once, per_hour = (f"{value:g} {limit.unit}".strip() for value in (limit.once, limit.per_hour))
    assert f"| {limit.what} | {once} | {per_hour} |" in page


@pytest.mark.parametrize("name", QUANTITIES)
def test_what_grows_past_its_limit_in_half_an_hour_is_found(name):
    met = {one.name: one.met for one in growth(_series(name, per_hour=20 * LIMITS[name].per_hour))}
    assert met == {f"soak.growth.{one}": one != name for one in QUANTITIES}


@pytest.mark.parametrize("name", QUANTITIES)
def test_what_only_goes_up_and_down_is_not(name):
    assert all(one.met for one in growth(_series(name, per_hour=0)))


def test_what_grew_in_the_first_half_alone_is_not_held_against_the_service():
    warming = [replace(STILL, at=at, service_memory=120.0 + min(at, 600) / 10) for at in HALF_AN_HOUR]
    assert all(one.met for one in growth(warming))


@pytest.mark.parametrize(
    ("name", "more"), [("descriptors", 13), ("processes", 1), ("tasks", 5), ("folders", 1)]
)
def test_what_is_left_behind_at_rest_is_found(name, more):
    after = replace(STILL, **{name: getattr(STILL, name) + more})
    met = {one.name: one.met for one in left_behind(STILL, after)}
    assert [one for one, is_met in met.items() if not is_met] == [f"soak.left.{name}"]


def test_a_line_through_samples_without_noise_is_certain():
    line = fit([0, 10, 20, 30], [1.0, 2.0, 3.0, 4.0])
    assert (line.rise, line.error, line.per_hour) == pytest.approx((3.0, 0.0, 360.0))
    assert line.certain_rise == pytest.approx(3.0)


def test_a_falling_line_is_no_growth():
    assert fit([0, 10, 20, 30], [4.0, 3.0, 2.0, 1.0]).certain_rise == 0


@pytest.mark.parametrize("times", [[0.0, 1.0], [5.0, 5.0, 5.0]])
def test_no_line_is_drawn_through_too_little(times):
    with pytest.raises(ValueError, match="three samples"):
        fit(times, [1.0] * len(times))


@pytest.mark.parametrize("arguments", [["--minutes", "0.1"], ["--every", "1000"], ["--minutes", "long"]])
def test_a_soak_too_short_to_tell_anything_is_refused(arguments):
    ended = subprocess.run(
        [sys.executable, RUN, *arguments], text=True, capture_output=True, timeout=LIMIT_SECONDS, check=False
    )
    assert ended.returncode == 2
    assert "--minutes" in ended.stderr


def _series(name: str, *, per_hour: float) -> list[Sample]:
    """Half an hour of a service whose figures go up and down by a tenth, one of them with a trend."""
    noise = random.Random(7)
    return [
        replace(
            STILL,
            at=float(at),
            **{
                one: getattr(STILL, one) * noise.uniform(0.9, 1.1)
                + (per_hour * at / 3600 if one == name else 0)
                for one in QUANTITIES
            },
        )
        for at in HALF_AN_HOUR
    ]
