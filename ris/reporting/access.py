"""The one way to fetch a report for a user."""

from ris.accounts.models import Role, User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.reporting.models import Discrepancy, Report
from ris.reporting.states import SIGNED, ReportStatus


def report_for(user: User, pk: int) -> Report:
    """The report, with the look noted. A referrer sees signed reports of their own orders only, and those
    that were withdrawn, so that nobody relies on what they remember."""
    require(user, "report.view")
    reports = Report.objects.select_related("reader").prefetch_related(
        "reported__exam__order__patient__identifiers",
        "reported__exam__order__ordering",
        "reported__exam__order__facility",
        "reported__exam__procedure__procedure_type",
        "reported__exam__technologist",
    )
    if set(user.roles) == {Role.REFERRER}:
        reports = reports.filter(
            reported__exam__order__ordering__user=user, status__in=[*SIGNED, ReportStatus.WITHDRAWN]
        )
    report = reports.filter(pk=pk).first()
    if report is None:
        raise NotFound("There is no such report.")
    for one in report.reported.all():
        order = one.exam.order
        record_access(user, "report.view", patient=order.patient_id, subject=order.accession_number)
    return report


def discrepancy_for(user: User, pk: int) -> Discrepancy:
    """One change between preliminary and signed text, with the look at its report noted."""
    require(user, "report.write")
    found = Discrepancy.objects.select_related("final", "preliminary").filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such discrepancy.")
    report_for(user, found.final.report_id)
    return found
