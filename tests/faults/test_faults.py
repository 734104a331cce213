"""The short form of `make faults`: every fault strikes, nothing is lost, doubled, disordered or left in half.

The sizes of published runs, and what they found, are in docs/reliability.md.
"""

import pytest

from tests.faults import modalities, scenarios
from tests.faults.load import Department

pytestmark = pytest.mark.timeout(600)


def test_kills_of_our_processes_lose_nothing(department: Department) -> None:
    """F1"""
    result = scenarios.kills(department, cases=24, kills=5, pause=(0.5, 1.5))
    assert result.violations == []


def test_death_at_every_named_point_loses_nothing(department: Department) -> None:
    """F3"""
    result = scenarios.crash_points(department, times=1, latest=1)
    assert result.violations == []


def test_kills_of_the_database_lose_nothing(department: Department) -> None:
    """F4"""
    result = scenarios.database_kills(department, cases=6, kills=1, pause=(0.5, 1.0))
    assert result.violations == []


def test_without_the_broker_the_work_goes_on(department: Department) -> None:
    """F6"""
    result = scenarios.broker_faults(department, rounds=1, seconds=1)
    assert result.violations == []


def test_a_bad_road_to_one_partner_is_nobody_elses_trouble(department: Department) -> None:
    """F8"""
    result = scenarios.bad_roads(
        department, cases=6, seconds=2, modes=("refuse", "blackhole", "lose", "reset 80")
    )
    assert result.violations == []


def test_hostile_partners_get_every_message_once(department: Department) -> None:
    """F9"""
    result = scenarios.hostile_partners(department, cases=18)
    assert result.violations == []


def test_a_frozen_sender_doubles_nothing(department: Department) -> None:
    """F19"""
    result = scenarios.frozen_sender(department, rounds=1, seconds=3)
    assert result.violations == []


def test_slow_peers_keep_nobody_waiting(department: Department) -> None:
    """F14"""
    result = modalities.slow_peers(department, idle=40, halves=12, tricklers=2, seconds=2)
    assert result.violations == []


def test_modalities_that_break_the_rules_break_nothing_else(department: Department) -> None:
    """F15, MPPS-01 to MPPS-03"""
    result = modalities.broken_modalities(department, cases=6, booked=1)
    assert result.violations == []


def test_without_the_database_modalities_work_on(department: Department) -> None:
    """F5, SCN-24"""
    result = modalities.without_the_database(department, steps=2, seconds=1)
    assert result.violations == []
