"""What a modality finds, and what it does not (PS3.4 K, RAD-5)."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.interfaces.dicom.scu import STEP, Ris
from tests.makers import make_appointment, make_order, make_patient, make_room

pytestmark = pytest.mark.peer("dcmtk")


def test_findscu_finds_exactly_the_booked_step(ris: Ris, tmp_path: Path) -> None:
    patient = make_patient("Okafor", "Adaeze", mrn="4417268", prefix="Mrs")
    appointment = make_appointment(make_order(patient))
    make_appointment(make_order(make_patient("Smith", "Jo")), room=make_room("CT2"))
    order = appointment.order
    day = appointment.starts_at.astimezone(ZoneInfo("America/New_York")).strftime("%Y%m%d")
    searches = {
        "date, modality and AE title": (
            f"{STEP}.ScheduledProcedureStepStartDate={day}",
            f"{STEP}.Modality=CT",
            f"{STEP}.ScheduledStationAETitle=CT1",
        ),
        "accession number": (f"AccessionNumber={order.accession_number}",),
        "patient id": ("PatientID=4417268",),
        "name": ("PatientName=OKA*",),
    }
    for by, keys in searches.items():
        matches = ris.findscu(tmp_path, "StudyInstanceUID", "PatientName", "AccessionNumber", *keys)
        assert [match.AccessionNumber for match in matches] == [order.accession_number], by
        assert matches[0].StudyInstanceUID == order.procedures.get().study_instance_uid
        assert matches[0].PatientName == "Okafor^Adaeze^^Mrs"
