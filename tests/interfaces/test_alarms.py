"""Alarms: one for each cause, started, counted and cleared by itself; taken and quieted by people."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from pytest_django.asserts import assertNumQueries

from interfaces import alarms
from interfaces.actions import save_endpoint
from interfaces.models import Alarm, Case, Endpoint, InboundMessage, OutboundMessage
from ris.core.errors import BadValue
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def his() -> Endpoint:
    return save_endpoint("HIS", {"direction": "out", "address": "127.0.0.1:9"}, by=person("ada"))


@pytest.fixture
def adt() -> Endpoint:
    return save_endpoint("ADT", {"direction": "in", "match_application": "ADT"}, by=person("ada"))


def _out(
    endpoint: Endpoint, number: int, status: str = "queued", text: str = "", minutes: int = 0
) -> OutboundMessage:
    return OutboundMessage.objects.create(
        endpoint=endpoint, purpose=str(number), type="ORM^O01", key=f"A{number}", control_id=f"X{number}", status=status,
        ack_code="AE" if text else "", error_text=text, raw=b"MSH|^~\\&|\r",
        created_at=timezone.now() - timedelta(minutes=minutes),
    )  # fmt: skip


def _in(endpoint: Endpoint, number: int, at: datetime, status: str = "processed") -> None:
    InboundMessage.objects.create(
        endpoint=endpoint, raw=b"x", digest=b"x", sender="ADT|H", control_id=str(number), type="ADT^A08", status=status,
        received_at=at, error_text="Bad" if status == "rejected" else "", error_code="102",
    )  # fmt: skip


def _open() -> list[tuple[str, str, int]]:
    return [(one.rule, one.cause, one.count) for one in Alarm.objects.filter(cleared_at=None).order_by("pk")]


def test_a_line_that_stays_down_is_one_alarm_whatever_waits_behind_it(his: Endpoint) -> None:
    now = timezone.now()
    for number in range(3):
        _out(his, number, minutes=30)
    Endpoint.objects.filter(pk=his.pk).update(down_since=now - timedelta(seconds=10), failures=2)
    alarms.watch(now)
    assert [rule for rule, _, _ in _open()] == ["queue_age"], "ten seconds are no news yet"
    for later in (60, 75):
        alarms.watch(now + timedelta(seconds=later))
    assert _open() == [("line_down", "", 2)]
    Endpoint.objects.filter(pk=his.pk).update(down_since=None)
    OutboundMessage.objects.update(status="held")
    alarms.watch(now + timedelta(seconds=90))
    assert _open() == []
    assert Alarm.objects.count() == 2


def test_refusals_are_told_apart_by_cause_and_not_by_the_number_in_the_text(his: Endpoint) -> None:
    for number in range(3):
        _out(his, number, "rejected", f"Unknown patient {4711 + number}")
    _out(his, 9, "rejected", "Ward 4EAST unknown")
    alarms.watch()
    assert sorted(_open()) == [
        ("refusals", "AE Unknown patient #", 3),
        ("refusals", "AE Ward 4EAST unknown", 1),
    ]
    OutboundMessage.objects.filter(control_id="X9").update(status="queued")
    alarms.watch()
    assert _open() == [("refusals", "AE Unknown patient #", 3)]


def test_a_refused_message_of_a_sender_is_told_of_until_it_came_again_and_fit(adt: Endpoint) -> None:
    _in(adt, 1, timezone.now(), "rejected")
    alarms.watch()
    assert _open() == [("refusals", "Bad", 1)]
    InboundMessage.objects.create(
        endpoint=adt, raw=b"y", digest=b"y", sender="ADT|H", control_id="1", status="processed"
    )
    alarms.watch()
    assert _open() == []


def test_a_sender_is_silent_when_it_is_quiet_three_times_longer_than_usual(adt: Endpoint) -> None:
    now = timezone.now().replace(minute=20, second=0)
    for day in range(1, 7):
        for place in range(10):
            _in(adt, day * 100 + place, now - timedelta(days=day))
    # Sixty in this hour of the last seven days: one in seven minutes.
    assert alarms.usual_gaps(now)[adt.pk] == timedelta(minutes=7)
    _in(adt, 1, now - timedelta(minutes=20))
    alarms.watch(now)
    assert _open() == []
    alarms.watch(now + timedelta(minutes=2))
    assert _open() == [("silence", "", 22)]
    for minutes, after, expected in (
        ("60", 2, []),
        ("60", 62, [("silence", "", 82)]),
        ("0", 63, []),
    ):
        save_endpoint("ADT", {"profile": {"silence_minutes": minutes}}, by=person("ada"))
        alarms.watch(now + timedelta(minutes=after))
        assert _open() == expected, f"{minutes} minutes allowed, {after} later"
    with pytest.raises(BadValue):
        save_endpoint("ADT", {"profile": {"silence_minutes": "soon"}}, by=person("ada"))


def test_cases_that_nobody_takes_are_told_of() -> None:
    case = Case.objects.create(kind="unknown_order", key="x", sentence="?")
    alarms.watch()
    assert _open() == []
    Case.objects.update(opened_at=timezone.now() - timedelta(minutes=20))
    alarms.watch()
    assert _open() == [("cases", "", 1)]
    Case.objects.filter(pk=case.pk).update(owner=person("ada"))
    alarms.watch()
    assert _open() == []


def test_mail_is_sent_once_for_a_cause_and_not_in_quiet_hours(his: Endpoint, settings: Settings) -> None:
    settings.RIS_ALARM_MAIL = ["it@harbour.example"]
    settings.RIS_QUIET_HOURS = "22-6"
    settings.RIS_FACILITY_TZ = "UTC"
    _out(his, 1, "rejected", "Patient OKAFOR unknown")
    night = datetime(2026, 11, 19, 23, 0, tzinfo=UTC)
    alarms.watch(night)
    assert (mail.outbox, Alarm.objects.get().quiet_until) == ([], datetime(2026, 11, 20, 6, 0, tzinfo=UTC))
    for minutes in (0, 1, 2):
        alarms.watch(datetime(2026, 11, 20, 6, minutes, tzinfo=UTC))
    (told,) = mail.outbox
    assert told.subject == "Lightbox: HIS refuses messages"
    assert "OKAFOR" not in told.body
    for wrong in ("late", "25-6", "22:00"):
        with pytest.raises(BadValue):
            alarms.quiet_hours(wrong)


def test_an_alarm_is_taken_and_quieted_and_leads_to_its_message(client: Client, his: Endpoint) -> None:
    client.force_login(person("ada"), backend="django.contrib.auth.backends.ModelBackend")
    _out(his, 1)
    failing = _out(his, 2, "rejected", "Unknown patient 4711")
    alarms.watch()
    alarm = Alarm.objects.get()
    assert "HIS refuses messages" in client.get("/interfaces").content.decode()
    assert client.get(f"/interfaces/alarms/{alarm.pk}").headers["Location"] == f"/interfaces/out/{failing.pk}"
    client.post(f"/interfaces/alarms/{alarm.pk}/take")
    client.post(f"/interfaces/alarms/{alarm.pk}/quiet", {"hours": "8"})
    alarm.refresh_from_db()
    assert alarm.owner == person("ada")
    assert alarm.quiet_until is not None
    assert client.post(f"/interfaces/alarms/{alarm.pk}/quiet", {"hours": "999"}).status_code in (409, 422)
    OutboundMessage.objects.update(status="queued")
    alarms.watch()
    assert client.post(f"/interfaces/alarms/{alarm.pk}/take").status_code == 409
    assert "Cleared by themselves" in client.get("/interfaces/alarms").content.decode()


def test_the_rail_counts_alarms_that_nobody_has_taken(client: Client, his: Endpoint) -> None:
    client.force_login(person("ada"), backend="django.contrib.auth.backends.ModelBackend")
    _out(his, 1, "rejected", "No")
    alarms.watch()
    page = client.get("/interfaces/cases").content.decode()
    assert '<span class="n">1<span class="vh"> need action' in page


def test_watching_costs_the_same_for_one_partner_and_for_many(his: Endpoint) -> None:
    alarms.watch()
    _out(his, 1)
    with assertNumQueries(15):
        alarms.watch()
    for number in range(5):
        save_endpoint(f"P{number}", {"direction": "out", "address": "127.0.0.1:9"}, by=person("ada"))
    with assertNumQueries(15):
        alarms.watch()
