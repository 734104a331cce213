"""The trail tells when somebody has touched it."""

import time
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ris.audit import sealing
from ris.audit.models import AuditEvent, AuditSeal
from ris.audit.trail import record_access, working_for
from tests.cast import person

pytestmark = pytest.mark.django_db(transaction=True)


def _fill(count: int = 10) -> None:
    with working_for("127.0.0.1"):
        for number in range(count):
            record_access(person("rita"), "patient.view", patient=number, subject=f"A26{number:07d}")


def _seal_all() -> None:
    """A transaction in any database of the cluster holds the horizon back for a while: the other test worker's, too."""
    end = time.monotonic() + 60
    while sum(AuditSeal.objects.values_list("rows", flat=True)) < AuditEvent.objects.count():
        assert time.monotonic() < end, "not all rows can be sealed"
        sealing.seal()
        time.sleep(0.05)


def _as_superuser(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement)
        cursor.execute("SET session_replication_role = DEFAULT")


def test_an_untouched_trail_is_whole() -> None:
    for _ in range(3):
        _fill()
        _seal_all()
    assert list(sealing.verify()) == []
    call_command("verify_audit")


def test_nothing_new_makes_no_seal() -> None:
    _fill()
    _seal_all()
    assert sealing.seal() is None


@pytest.mark.parametrize(
    "tamper",
    [
        lambda row: f"UPDATE audit_auditevent SET username = 'nobody' WHERE id = {row}",
        lambda row: f"UPDATE audit_auditevent SET at = at + interval '1 second' WHERE id = {row}",
        lambda row: f"DELETE FROM audit_auditevent WHERE id = {row}",
        lambda row: (
            "INSERT INTO audit_auditevent"
            " (id, at, xid, cluster, username, action, subject, source, reason, outcome, details)"
            " SELECT id + 1000, at, xid, cluster, 'ghost', action, '', '', '', 'ok', '{}'"
            f" FROM audit_auditevent WHERE id = {row}"
        ),
        lambda row: (
            f"UPDATE audit_auditevent SET id = -1 WHERE id = {row};"
            f"UPDATE audit_auditevent SET id = {row} WHERE id = {row} + 1;"
            f"UPDATE audit_auditevent SET id = {row} + 1 WHERE id = -1"
        ),
        lambda row: "DELETE FROM audit_auditseal WHERE id = (SELECT min(id) FROM audit_auditseal)",
    ],
    ids=["edited", "backdated", "deleted", "inserted", "reordered", "seal removed"],
)
def test_a_touched_trail_is_found_out(tamper: Callable[[int], str]) -> None:
    for _ in range(2):
        _fill()
        _seal_all()
    row = AuditEvent.objects.order_by("id").values_list("id", flat=True)[3]
    _as_superuser(tamper(row))
    assert list(sealing.verify())
    with pytest.raises(CommandError, match="broken"):
        call_command("verify_audit")


def test_a_row_says_who_where_and_whom() -> None:
    _fill(1)
    row = AuditEvent.objects.get(action="patient.view")
    assert (row.username, row.source, row.patient, row.outcome) == ("rita", "127.0.0.1", 0, "ok")
    assert AuditSeal.objects.count() == 0
