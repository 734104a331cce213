"""Rules of the house that a machine can watch."""

import ast
from pathlib import Path

import pytest
from django.apps import apps
from django.db import InternalError, connection, models, transaction

from ris.core.flow import StatusRecord
from tests import makers
from tests.cast import person

ROOT = Path(__file__).resolve().parents[2]
OURS = ["ris", "scheduling", "billing", "interfaces"]
WRITES = {
    "save",
    "create",
    "bulk_create",
    "update",
    "bulk_update",
    "delete",
    "get_or_create",
    "update_or_create",
}
#: Where rows may be written: the verbs, and what they stand on.
WRITERS = (
    "actions.py", "_actions.py", "actions/", "models.py", "models_dicom.py", "models_downtime.py", "models_bodies.py",
    "core/flow.py", "events/outbox.py", "audit/trail.py", "audit/sealing.py", "interfaces/engine.py",
    "interfaces/cases.py", "interfaces/alarms.py", "ris/accounts/", "supervisor/", "seeds/", "migrations/",
)  # fmt: skip


def _sources() -> list[Path]:
    return [path for top in OURS for path in sorted((ROOT / top).rglob("*.py"))]


def _writes(path: Path) -> list[str]:
    """Calls that look like ORM writes: `.objects...create()`, `instance.save()` and the like."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES
        ):
            continue
        source = ast.unparse(node.func.value)
        manager = "objects" in source or "_default_manager" in source or "filter(" in source
        record = node.func.attr == "save" or (
            node.func.attr == "delete" and not source.endswith(("session", "cache"))
        )
        if manager or record:
            found.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node.func)}")
    return found


def test_rows_are_written_by_verbs_alone() -> None:
    found = [
        line
        for path in _sources()
        if not any(part in str(path.relative_to(ROOT)) for part in WRITERS)
        for line in _writes(path)
    ]
    assert found == []


def test_nothing_is_called_utils() -> None:
    banned = {"utils", "helpers", "manager", "service", "misc", "common"}
    assert [str(path) for path in _sources() if path.stem in banned] == []


def _status_models() -> list[type[StatusRecord]]:
    return [model for model in apps.get_models() if issubclass(model, StatusRecord)]


@pytest.mark.parametrize("model", _status_models(), ids=lambda model: model.__name__)
def test_every_flow_is_the_trigger_of_its_table(model: type[StatusRecord]) -> None:
    (guard,) = [one for one in model._meta.triggers if one.name == "status_follows_flow"]  # type: ignore[attr-defined]
    assert sorted(guard.transitions) == model.flow.pairs


def _example(model: type[StatusRecord]) -> StatusRecord:
    report = makers.make_report()
    exam = report.reported.get().exam
    name = model.__name__
    if name == "Order":
        return exam.order
    if name == "Exam":
        return exam
    if name == "Report":
        return report
    if name == "Charge":
        from billing.actions import capture_charge

        return capture_charge(exam, "technical", by=person("ben"))
    if name == "Visit":
        from ris.patients.actions import NewVisit, open_visit

        return open_visit(exam.order.patient, NewVisit("V1"), by=person("clara"))
    if name == "PerformedProcedureStep":
        from django.utils import timezone

        from ris.exams.actions import NewPerformedStep, begin_performed_step

        return begin_performed_step(
            NewPerformedStep("1.2.3.4", "CT1", "CT", timezone.now(), ()), by=person("epic")
        )
    if name == "Administration":
        from decimal import Decimal

        from ris.exams.actions import NewAdministration, administer
        from ris.supplies.actions import receive_stock

        item = makers.make_item(kind="consumable", volume_ml=None)
        received = receive_stock(item, "L1", None, Decimal(1), by=person("theo"))
        return administer(exam, NewAdministration(lot=received.lot), by=person("theo"))
    if name == "ProtocolRequest":
        return makers.make_protocol_request()
    if name == "Questionnaire":
        from ris.safety.actions import draft_questionnaire
        from ris.safety.catalogue import MR

        return draft_questionnaire(MR, by=person("ada"))
    appointment = makers.make_appointment()
    return appointment if name == "Appointment" else appointment.steps.get()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "model",
    [one for one in _status_models() if one._meta.app_label != "interfaces"],
    ids=lambda model: model.__name__,
)
def test_the_database_refuses_what_the_flow_refuses(model: type[StatusRecord]) -> None:
    row = _example(model)
    table = model._meta.db_table
    tried = 0
    for before in model.flow.statuses:
        with connection.cursor() as cursor:  # the guards stand aside only for the superuser of the tests
            cursor.execute("SET session_replication_role = replica")
            try:
                with transaction.atomic():
                    cursor.execute(f"UPDATE {table} SET status = %s WHERE id = %s", [before, row.pk])
            except Exception:
                continue  # another constraint keeps this row out of that status
            finally:
                cursor.execute("SET session_replication_role = DEFAULT")
        for after in model.flow.statuses:
            if after == before or model.flow.allows(before, after):
                continue
            tried += 1
            with (
                pytest.raises(InternalError, match="Invalid transition"),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(f"UPDATE {table} SET status = %s WHERE id = %s", [after, row.pk])
    assert tried > 0


def _append_only_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if getattr(model, "append_only", False)]


@pytest.mark.django_db
@pytest.mark.parametrize("statement", ["UPDATE {t} SET id = id", "DELETE FROM {t}", "TRUNCATE {t} CASCADE"])
@pytest.mark.parametrize("table", ["events_event", "audit_auditevent", "reporting_reportpart"])
def test_written_once_stays_as_written(table: str, statement: str) -> None:
    makers.make_report(signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL pgtrigger.ignore = '{rows_never_change}'")  # no way around
        with pytest.raises(InternalError, match=r"Cannot (update|delete|truncate)"), transaction.atomic():
            cursor.execute(statement.format(t=table))


@pytest.mark.django_db
@pytest.mark.parametrize("model", _append_only_models(), ids=lambda model: model.__name__)
def test_the_application_has_no_grant_to_rewrite(model: type[models.Model], as_application: None) -> None:
    with connection.cursor() as cursor:
        for right in ("UPDATE", "DELETE", "TRUNCATE"):
            cursor.execute("SELECT has_table_privilege(current_user, %s, %s)", [model._meta.db_table, right])
            assert cursor.fetchone() == (False,), right
