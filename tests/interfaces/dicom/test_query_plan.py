"""The worklist's queries find their rows by index, however long the list."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from interfaces.dicom.charsets import Decoder
from interfaces.dicom.database import _prepared, fetch_prepared
from interfaces.dicom.datasets import Answers
from interfaces.dicom.elements import read
from interfaces.dicom.matching import read_keys
from interfaces.dicom.worklist import statement
from ris.orders.models import Order, RequestedProcedure
from ris.patients.models import Patient, PatientIdentifier
from scheduling.models import Appointment, ScheduledProcedureStep
from tests.cast import person
from tests.interfaces.dicom.scu import query
from tests.makers import AUTHORITY, make_facility, make_procedure_type, make_room, next_hour

COUNT = 2000


@pytest.fixture
def long_worklist(db: None) -> None:
    by, facility, room, kind = person("mona"), make_facility(), make_room(), make_procedure_type()
    first = next_hour(24)
    patients = Patient.objects.bulk_create(
        Patient(family=f"Name{number}", given="Jane", birth_date="1970-01-01", sex="F")
        for number in range(COUNT)
    )
    PatientIdentifier.objects.bulk_create(
        PatientIdentifier(patient=patient, value=f"P{patient.pk}", authority=AUTHORITY, primary=True)
        for patient in patients
    )
    orders = Order.objects.bulk_create(
        Order(
            facility=facility, patient=patient, accession_number=f"A{patient.pk}", status="scheduled",
            ordered_at=first, entered_by=by,
        )
        for patient in patients
    )  # fmt: skip
    procedures = RequestedProcedure.objects.bulk_create(
        RequestedProcedure(
            order=order, procedure_type=kind, code=kind.code, study_instance_uid=f"1.2.{order.pk}",
            requested_procedure_id=f"R{order.pk}",
        )
        for order in orders
    )  # fmt: skip
    starts = [first + timedelta(minutes=10 * number) for number in range(COUNT)]
    appointments = Appointment.objects.bulk_create(
        Appointment(
            order=order, patient=order.patient, room=room, booked_by=by,
            during=DateTimeTZRange(start, start + timedelta(minutes=10)),
        )
        for order, start in zip(orders, starts, strict=True)
    )  # fmt: skip
    ScheduledProcedureStep.objects.bulk_create(
        ScheduledProcedureStep(
            appointment=appointment, procedure=procedure, step_id=f"S{procedure.pk}", starts_at=start,
            modality=("CT", "MR", "US")[procedure.pk % 3],
            station_ae_titles=[f"CT{procedure.pk % 10}", *(["CT10"] if procedure.pk % 100 == 0 else [])],
        )
        for appointment, procedure, start in zip(appointments, procedures, starts, strict=True)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def plan(identifier: Dataset) -> str:
    """As the service has it: made for the statement before its values are known."""
    keys = read(encode(identifier, True, True) or b"", explicit=False)
    criteria = read_keys(keys, Decoder())
    sql = statement(criteria, Answers(keys, explicit=False))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        fetch_prepared(sql, criteria.parameters)
        name = _prepared.names[sql]
        cursor.execute(
            f"EXPLAIN EXECUTE {name}({', '.join(['%s'] * len(criteria.parameters))})", criteria.parameters
        )
        return "\n".join(line for (line,) in cursor.fetchall())


def test_each_usual_query_has_its_index(long_worklist: None) -> None:
    day = "20310705"
    expected = {
        "steps_on_worklist_modality": query({"ScheduledProcedureStepStartDate": day, "Modality": "CT"}),
        "steps_on_worklist_": query(
            {"ScheduledProcedureStepStartDate": day, "Modality": "CT", "ScheduledStationAETitle": "CT1"}
        ),
        "steps_on_worklist_station": query(
            {"ScheduledProcedureStepStartDate": f"{day}-", "ScheduledStationAETitle": "CT1"}
        ),
        "steps_of_several_stations": query(
            {"ScheduledProcedureStepStartDate": f"{day}-", "ScheduledStationAETitle": "CT1"}
        ),
        "steps_on_worklist ": query({"ScheduledProcedureStepStartDate": f"{day}-{day}"}),
        "order_by_accession": query(AccessionNumber="A1"),
        "identifier_by_value": query(PatientID="P1"),
        "patient_by_family": query(PatientName="NAME12*"),
    }
    for index, identifier in expected.items():
        shown = plan(identifier)
        assert index in shown, shown
        for table in ("scheduling_scheduledprocedurestep", "orders_order", "patients_patient"):
            assert f"Seq Scan on {table} " not in shown, shown
