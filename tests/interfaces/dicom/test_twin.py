"""What a machine shows of itself, what it sees, and why something is not there."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pynetdicom.dsutils import encode

from interfaces import alarms, modalities
from interfaces.dicom import selftest, visibility
from interfaces.dicom.visibility import explain, seen_by, usual_identifier
from interfaces.models import Alarm, AlarmRule, StationDay, StationTwin
from ris.department.models import Station
from ris.exams import actions as exams
from ris.orders.models import Order
from scheduling.actions import cancel_order
from scheduling.models import ScheduledProcedureStep
from tests import makers
from tests.cast import person
from tests.interfaces.dicom.scu import MPPS, Ris, query


def eventually(found: "list[StationTwin] | None" = None, **wanted: object) -> StationTwin:
    """The twin once the services have written what they saw, which they do every few seconds."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        twin = StationTwin.objects.filter(**wanted).first()
        if twin is not None:
            return twin
        time.sleep(0.1)
    raise AssertionError(f"no twin {wanted}: {list(StationTwin.objects.values())}")


@pytest.mark.django_db(transaction=True)
def test_a_machine_is_known_by_its_own_calls_and_tried_from_its_page(ris: Ris, client: Client) -> None:
    """MWL-28, MWL-29: learned beside the answers; a stranger is refused, listed, and added by one click."""
    makers.make_appointment()
    today = f"{timezone.now():%Y%m%d}"
    asked = query(
        {"Modality": "CT", "ScheduledProcedureStepStartDate": f"{today}-", "ScheduledStationAETitle": "CT1"},
        PatientID="",
    )
    asked.SpecificCharacterSet = "ISO_IR 100"
    assert len(ris.find(asked, calling="CT1").matches) == 1
    with ris.associate(MPPS, calling="STRANGER", called="SOMEBODY") as assoc:
        assert assoc.is_rejected
    twin = eventually(ae_title="CT1", last_matches=1)
    assert list(twin.addresses) == ["127.0.0.1"]
    assert twin.implementation_name.startswith("PYNETDICOM")
    assert twin.contexts[0]["sop_class"] == "1.2.840.10008.5.1.4.31"
    assert twin.contexts[0]["accepted"]
    assert list(twin.character_sets) == ["ISO_IR 100"]
    assert set(twin.matching_keys) == {
        "Modality",
        "ScheduledProcedureStepStartDate",
        "ScheduledStationAETitle",
    }
    assert {"PatientID", "AccessionNumber"} <= set(twin.return_keys)
    assert twin.usual_query
    eventually(ae_title="STRANGER", refused=1, refused_because="called AE title")
    # A query for one patient is nobody's usual one.
    ris.find(query({"Modality": "CT"}, PatientID="4711"), calling="CT1")
    after = eventually(ae_title="CT1", matching_keys__has_key="PatientID")
    assert bytes(after.usual_query or b"") == bytes(twin.usual_query)
    assert StationDay.objects.get(twin__ae_title="CT1").queries == 2

    client.force_login(person("ada"))
    station = Station.objects.get()
    page = client.get("/admin/modalities").content.decode()
    assert "STRANGER" in page
    assert "called AE title" in page
    eventually(ae_title="LIGHTBOX", addresses__has_key=f"127.0.0.1:{ris.port}")
    tried = selftest.echo_as(station)
    assert (tried.worked, tried.words) == (True, "Our services answer it")
    answer = client.post(f"/admin/modalities/{station.pk}/find").content.decode()
    assert "1 match," in answer
    assert Order.objects.get().accession_number in answer
    assert "OKAFOR" not in answer  # an administrator opens no charts
    Station.objects.update(host="127.0.0.1", port=ris.port, ae_title="LIGHTBOX")
    assert "answers" in client.post(f"/admin/modalities/{station.pk}/echo").content.decode()
    added = client.post(
        "/admin/modalities/new?ae=STRANGER",
        {"ae_title": "STRANGER", "room": station.room_id, "modality": "CT", "host": "10.2.0.9", "port": 104, "name": ""},
    )  # fmt: skip
    assert added.status_code == 303
    assert Station.objects.filter(ae_title="STRANGER", active=True).exists()
    assert list(modalities.strangers()) == []
    # Our own tries are no news of the machine.
    assert StationDay.objects.get(twin__ae_title="CT1").queries == 2


@pytest.mark.django_db
def test_each_rule_that_hides_an_exam_is_named() -> None:
    """MWL-25 the other way round: the rules are the worklist's own code."""
    appointment = makers.make_appointment()
    order, step = appointment.order, ScheduledProcedureStep.objects.get()
    station = Station.objects.select_related("room__facility").get()
    everything = usual_identifier(station, None)

    def reasons(**settings: object) -> set[str]:
        for name, value in settings.items():
            setattr(station, name, value)
        (found,) = explain(station, Order.objects.get(pk=order.pk), everything)
        assert found.seen == (not found.reasons), found
        assert found.seen == (station.active and step.pk in seen_by(station, everything))
        return {rule.name for rule in found.reasons}

    assert reasons() == set()
    assert reasons(active=False) == {"May connect"}
    assert reasons(active=True, shown=["STARTED"]) == {"Status"}
    assert reasons(shown=["SCHEDULED"], days_before=3, days_after=0, own_steps_only=True) <= {"Days shown"}
    ScheduledProcedureStep.objects.update(
        starts_at=timezone.now() + timedelta(days=3), station_ae_titles=["CT2"]
    )
    assert reasons() == {"Days shown", "Its own exams only"}
    step_keys = everything.ScheduledProcedureStepSequence[0]
    step_keys.Modality, step_keys.ScheduledStationAETitle = "MR", "CT2"
    assert reasons(days_before=None, days_after=None) == {"Modality"}
    step_keys.Modality = "CT"
    assert reasons() == set()
    step_keys.ScheduledProcedureStepStartDate = f"{timezone.now():%Y%m%d}"
    assert reasons() == {"Scheduled Procedure Step Start Date"}
    exams.start_exam(order, by=person("theo"))
    assert reasons() >= {"Status"}


@pytest.mark.django_db
def test_what_is_not_booked_or_withdrawn_says_so() -> None:
    station = makers.make_room().stations.get()
    asked = usual_identifier(station, None)
    order = makers.make_order()
    (found,) = explain(station, order, asked)
    assert [rule.name for rule in found.reasons] == ["Booked"]
    unknown = makers.make_order(code="XRCHPAL")
    assert [rule.name for rule in explain(station, unknown, asked)[0].reasons] == ["Exam code", "Booked"]
    withdrawn = makers.make_appointment(start=makers.next_hour(3)).order
    cancel_order(withdrawn, reason="Duplicate", by=person("mona"))
    (gone,) = explain(station, Order.objects.get(pk=withdrawn.pk), asked)
    assert {rule.name for rule in gone.reasons} == {"Order", "Booked", "Status"}
    assert "cancelled (Duplicate)" in next(rule.words for rule in gone.rules if rule.name == "Order")


@pytest.mark.django_db
def test_a_usual_query_for_a_day_is_asked_for_today() -> None:
    station = makers.make_room().stations.get()
    asked = visibility.usual_identifier(station, None)
    asked.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate = "20261119-20261120"
    twin = StationTwin(
        ae_title="CT1", usual_query=encode(asked, True, True),
        last_query_at=datetime(2026, 11, 19, 14, tzinfo=UTC),
    )  # fmt: skip
    moved = usual_identifier(station, twin, datetime(2026, 11, 22, 14, tzinfo=UTC))
    assert moved.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate == "20261122-20261123"


@pytest.mark.django_db
def test_a_machine_that_should_have_called_is_an_alarm_and_one_that_sleeps_at_night_is_not() -> None:
    station = makers.make_room().stations.get()
    now = timezone.now()
    twin = StationTwin.objects.create(ae_title="CT1", last_heard_at=now - timedelta(minutes=40))
    hours = [0] * 24
    hours[now.hour] = 12
    for ago in range(1, 8):
        StationDay.objects.create(twin=twin, day=now.date() - timedelta(days=ago), hours=hours)
    (found,) = modalities.machines(now)
    assert (found.state, found.gap) == ("silent", timedelta(minutes=5))
    alarms.watch(now)
    alarm = Alarm.objects.get(rule=AlarmRule.STATION, cleared_at=None)
    assert (alarms.words_for(alarm), alarm.count) == ("CT1 is silent", 40)
    assert modalities.machine(station, now + timedelta(hours=2)).state == "up"  # never heard at that hour
    StationTwin.objects.update(last_heard_at=now)
    alarms.watch(now + timedelta(seconds=30))
    assert not Alarm.objects.filter(rule=AlarmRule.STATION, cleared_at=None).exists()
