"""Two weeks of the invented machines' own calls, one machine that has gone silent, and one that nobody added."""

from datetime import datetime, timedelta
from random import Random

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from interfaces.models import StationDay, StationTwin
from ris.core.formats import local
from ris.department.models import Modality, Station

#: Implementation Class UID and Version Name, invented: no maker's.
_SOFTWARE = {
    Modality.CT: ("2.25.90210001", "SCANVIEW_7"), Modality.MR: ("2.25.90210002", "FIELDSUITE_4"),
    Modality.US: ("2.25.90210003", "ECHOTONE_2"), Modality.XR: ("2.25.90210004", "RAYDESK_11"),
    Modality.MG: ("2.25.90210005", "MAMMA_3"),
}  # fmt: skip
_WORKLIST, _STEPS, _ECHO = "1.2.840.10008.5.1.4.31", "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.1"
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DAYS = 14
_SILENT = "MG1"
_RETURNED = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "RequestedProcedureID",
             "StudyInstanceUID", "ScheduledProcedureStepID", "ScheduledProcedureStepDescription")  # fmt: skip


def seed_twins(rng: Random, now: datetime) -> None:
    """For each station that has none yet."""
    known = set(StationTwin.objects.values_list("ae_title", flat=True))
    days = []
    for place, station in enumerate(Station.objects.filter(active=True).order_by("ae_title")):
        if station.ae_title in known:
            continue
        twin = _twin(rng, station, place, now)
        twin.save()
        days += [_day(rng, twin, now, ago) for ago in range(_DAYS, -1, -1)]
    StationDay.objects.bulk_create(days)
    StationTwin.objects.get_or_create(
        ae_title="NEWARM1",
        defaults={
            "first_heard_at": now - timedelta(hours=3), "addresses": {"10.2.0.77": now.isoformat()}, "refused": 14,
            "implementation_uid": "2.25.90210009", "implementation_name": "CARM_1",
            "last_refused_at": now - timedelta(minutes=6), "refused_because": "calling AE title, address or certificate",
        },
    )  # fmt: skip


def _twin(rng: Random, station: Station, place: int, now: datetime) -> StationTwin:
    heard = now - timedelta(seconds=rng.randrange(20, 240))
    if station.ae_title == _SILENT:
        heard = now - timedelta(minutes=95)
    uid, name = _SOFTWARE.get(Modality(station.modality), ("2.25.90210008", "MODALITY_1"))
    at = heard.isoformat()
    return StationTwin(
        ae_title=station.ae_title, first_heard_at=now - timedelta(days=400), last_heard_at=heard,
        addresses={f"10.2.0.{41 + place}": at}, implementation_uid=uid, implementation_name=name, max_pdu=65_536,
        contexts=[
            {"sop_class": one, "transfer_syntaxes": [_EXPLICIT, _IMPLICIT], "accepted": True}
            for one in (_ECHO, _WORKLIST, _STEPS)
        ],
        character_sets={"ISO_IR 100": at}, return_keys=dict.fromkeys(_RETURNED, at),
        matching_keys=dict.fromkeys(("ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "Modality"), at),
        usual_query=_query(station, heard), last_query_at=heard, last_matches=rng.randrange(0, 14),
        last_query_ms=round(rng.uniform(1.2, 6.0), 1), last_step_at=heard - timedelta(minutes=rng.randrange(3, 60)),
    )  # fmt: skip


def _query(station: Station, at: datetime) -> bytes:
    """Today's exams on this machine, as nearly all of them ask."""
    identifier, step = Dataset(), Dataset()
    step.ScheduledStationAETitle, step.Modality = station.ae_title, station.modality
    step.ScheduledProcedureStepStartDate = f"{local(at):%Y%m%d}"
    step.ScheduledProcedureStepStartTime = step.ScheduledProcedureStepDescription = ""
    identifier.ScheduledProcedureStepSequence = [step]
    identifier.SpecificCharacterSet = "ISO_IR 100"
    for keyword in _RETURNED[:7]:
        setattr(identifier, keyword, "")
    return encode(identifier, True, True) or b""


def _day(rng: Random, twin: StationTwin, now: datetime, ago: int) -> StationDay:
    """A call every few minutes; at night the machines sleep, but not the one that is silent now."""
    day = (now - timedelta(days=ago)).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = [0] * 24
    for hour in range(24):
        at = day + timedelta(hours=hour)
        if at <= now and (
            7 <= local(at).hour < 19 or (twin.ae_title == _SILENT and hour == now.hour and ago)
        ):
            hours[hour] = rng.randrange(9, 16)
    queries = sum(hours)
    return StationDay(
        twin=twin, day=day.date(), hours=hours, associations=queries + 4, queries=queries,
        matches=queries * rng.randrange(3, 9), steps=rng.randrange(8, 24) if queries else 0,
    )  # fmt: skip
