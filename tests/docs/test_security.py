"""docs/security.md shows every attack that the tests make, and what stops it."""

from tests.adversarial.attacks import ATTACKS
from tests.adversarial.table import table, written


def test_the_table_of_attacks_is_the_one_that_is_run():
    assert written() == table(), "run: python -m tests.adversarial.table"


def test_no_attack_is_listed_twice():
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names) >= 50


def test_each_is_stopped_by_something_or_says_why_not():
    assert all(bool(attack.by) != bool(attack.remains) for attack in ATTACKS)
