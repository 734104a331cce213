"""A signed text that is not the preliminary one care may have begun on (RST-08)."""

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from ris.core.errors import BadValue, NotAllowed
from ris.events.models import Event
from ris.reporting import actions as reporting
from ris.reporting.models import Discrepancy, Draft, Report
from ris.reporting.sections import IMPRESSION, Section
from tests.cast import person
from tests.makers import make_exam

pytestmark = pytest.mark.django_db


def released(first: str = "No fracture.") -> Report:
    """A resident's text, released as preliminary; the radiologist goes on with it."""
    report = reporting.open_report(make_exam(completed=True), by=person("rene"))
    write(report, first, by="rene")
    reporting.make_preliminary(report, version=Draft.objects.get(report=report).version, by=person("rene"))
    reporting.release_lease(report, by=person("rene"))
    return report


def write(report: Report, words: str, *, by: str) -> None:
    sections: list[Section] = [{"code": IMPRESSION[0], "title": IMPRESSION[1], "text": words}]
    draft = Draft.objects.get(report=report)
    reporting.save_draft(report, sections, version=draft.version, by=person(by))


def sign(report: Report, **rating: str) -> Discrepancy | None:
    reporting.open_report(report.reported.get().exam, by=person("rita"))
    draft = Draft.objects.get(report=report)
    part = reporting.sign_report(report, version=draft.version, by=person("rita"), **rating)
    return Discrepancy.objects.filter(final=part).first()


def test_the_same_text_signed_is_no_discrepancy() -> None:
    assert sign(released()) is None


def test_another_text_is_noted_rated_and_seen_by_who_wrote_the_first() -> None:
    report = released()
    reporting.open_report(report.reported.get().exam, by=person("rita"))
    write(report, "Fracture of the scaphoid.", by="rita")
    found = sign(report)
    assert found is not None
    assert (found.significance, found.rated_by, found.preliminary.author) == ("", None, person("rene"))
    with pytest.raises(BadValue):
        reporting.rate_discrepancy(found, "dreadful", by=person("rita"))
    with pytest.raises(NotAllowed):
        reporting.rate_discrepancy(found, "minor", by=person("rene"))
    found = reporting.rate_discrepancy(found, "major", note="Look at the  snuffbox.", by=person("rita"))
    assert (found.significance, found.note) == ("major", "Look at the snuffbox.")
    with pytest.raises(NotAllowed):
        reporting.see_discrepancy(found, by=person("rita"))
    assert reporting.see_discrepancy(found, by=person("rene")).seen_at is not None
    kinds = Event.objects.filter(kind__startswith="report.discrepancy").values_list("kind", flat=True)
    assert list(kinds) == ["report.discrepancy_rated", "report.discrepancy_seen"]
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM reporting_discrepancy WHERE id = %s", [found.pk])


def test_the_list_shows_what_is_open_to_both(client: Client) -> None:
    report = released()
    reporting.open_report(report.reported.get().exam, by=person("rita"))
    write(report, "Fracture of the scaphoid.", by="rita")
    found = sign(report)
    assert found is not None
    client.force_login(person("rita"))
    assert "Rate</button>" in client.get("/reading/discrepancies").content.decode()
    sent = {"significance": "minor", "note": "Small."}
    assert client.post(f"/reading/discrepancies/{found.pk}/rate", sent).status_code == 303
    client.force_login(person("rene"))
    page = client.get("/reading/discrepancies?show=mine").content.decode()
    assert "Minor: care stays the same" in page
    assert client.post(f"/reading/discrepancies/{found.pk}/seen").status_code == 303
    assert "Nothing here." in client.get("/reading/discrepancies").content.decode()
