"""The protocolling queue and its sheet, as a radiologist uses them: by keyboard (ux.md 1.3, 2.6)."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Page, expect

from ris.protocolling.actions import approve_protocol, ask_referrer
from ris.protocolling.models import ProtocolRequest
from tests import makers
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import person


def _request(family: str, reason: str, **fields: Any) -> ProtocolRequest:
    kind = makers.make_procedure_type("CTAP", name="CT abdomen and pelvis with contrast", contrast=True)
    patient = fields.pop("patient", None) or makers.make_patient(
        family, allergies=fields.pop("allergies", "")
    )
    return makers.make_protocol_request(
        makers.make_order(patient, procedure_type=kind, reason=reason, weight_kg=Decimal(71), **fields)
    )


def _protocols() -> None:
    kind = makers.make_procedure_type("CTAP", name="CT abdomen and pelvis with contrast", contrast=True)
    agent = {"contrast_agent": "Iohexol 350 mg/mL", "rate_ml_s": Decimal(3), "least_egfr": 30}
    makers.make_protocol("Abdomen portal venous 90 mL", kind, default=True, contrast_ml=Decimal(90), **agent)
    makers.make_protocol("Liver biphasic", kind, contrast_ml_per_kg=Decimal("1.5"), contrast_max_ml=Decimal(120),
                         indications=["metastases"], series="Arterial\nPortal venous", **agent)  # fmt: skip
    makers.make_protocol("Abdomen without contrast", kind, indications=["stone"])


def _key(page: Page, key: str) -> None:
    page.wait_for_timeout(250)  # slower than a scanner
    page.keyboard.press(key)


@pytest.mark.django_db
def test_the_queue_takes_as_many_queries_for_many_as_for_one() -> None:
    _protocols()
    client = Client()
    client.force_login(person("rita"))
    took = []
    for families in (("Okafor",), ("Singh", "Rossi", "Todd")):
        for family in families:
            _request(family, "Pain")
        client.get("/protocols")
        with CaptureQueriesContext(connection) as queries:
            text = client.get("/protocols").content.decode()
        took.append(len(queries))
    assert took[0] == took[1] <= 25
    assert text.count("<tr id=") == 4
    shown = re.search(r'data-live-version="([^"]+)"', text)
    assert shown is not None
    again = client.get(f"/protocols?since={shown[1]}", headers={"X-Live": "1"})
    assert again.status_code == 204


@pytest.mark.django_db
def test_the_lists_say_when_they_are_empty_and_what_waits_elsewhere() -> None:
    client = Client()
    client.force_login(person("rita"))
    assert "Nothing to protocol." in client.get("/protocols").content.decode()
    ask_referrer(_request("Okafor", "Pain"), "Which side?", by=person("rita"))
    assert "1 request waits for the referrer" in client.get("/protocols").content.decode()
    assert "Which side?" in client.get("/protocols?view=asked").content.decode()
    for view in ("returned", "decided"):
        assert 'class="empty"' in client.get(f"/protocols?view={view}").content.decode()


@pytest.mark.peer("chromium")
@pytest.mark.django_db(transaction=True)
def test_a_radiologist_protocols_by_keyboard(open_as: OpenAs) -> None:
    """O11, O12: Enter takes the first suggestion, a digit another; X and Q hand back; U takes it back."""
    _protocols()
    rita = person("rita")
    before = _request("Singh", "Follow-up")
    approve_protocol(before, before.procedure.procedure_type.protocols.get(name="Liver biphasic"), by=rita)  # type: ignore[union-attr]
    first = _request("Okafor", "Right upper quadrant pain", priority="stat")
    second = _request("Singh", "Known metastases, new pain", patient=before.order.patient, priority="asap")
    third = _request("Todd", "Pain", priority="preop", allergies="Iodinated contrast")
    page = open_as(rita, "/protocols", theme="reading")
    expect(page.locator("tr[data-row]")).to_have_count(3)
    expect(page.locator(".nav a[aria-current] .n")).to_have_text(re.compile("3"))
    photograph(page, "protocols")
    _key(page, "j")
    _key(page, "Enter")
    sheet = page.locator("#sheet")
    expect(sheet.get_by_role("radio", name="Abdomen portal venous 90 mL")).to_be_checked()
    assert accessibility_faults(page) == []
    _key(page, "Enter")
    expect(page.locator("#toasts")).to_contain_text("Abdomen portal venous 90 mL")
    _key(page, "j")
    _key(page, "Enter")
    expect(sheet.get_by_text("Used for this patient on")).to_be_visible()
    expect(sheet.get_by_role("radio", name="Liver biphasic")).to_be_checked()
    photograph(page, "protocol-sheet")
    _key(page, "2")
    _key(page, "n")
    page.keyboard.type("Include the groins", delay=80)
    _key(page, "Enter")
    expect(page.locator("#toasts")).to_contain_text("Abdomen portal venous 90 mL")
    _key(page, "u")
    expect(page.locator("#toasts")).to_contain_text("waits for its protocol again")
    third_row = page.locator(f"#protocol-{third.pk}")
    third_row.click()
    _key(page, "Enter")
    expect(sheet.get_by_text("Allergy recorded").first).to_be_visible()
    expect(sheet.get_by_role("radio", name="Abdomen without contrast")).to_be_checked()
    _key(page, "x")
    expect(sheet.get_by_role("heading", name="Return to the referrer")).to_be_visible()
    _key(page, "4")
    assert accessibility_faults(page) == []
    _key(page, "Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("goes back to the referrer")
    for request, status in ((first, "approved"), (second, "wanted"), (third, "rejected")):
        request.refresh_from_db()
        assert request.status == status
    assert third.reason == "Contrast is not safe for this patient"
    third.order.refresh_from_db()
    assert third.order.status == "held"
