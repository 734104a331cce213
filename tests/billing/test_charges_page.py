"""What billers see of charges and fees, and what they may do."""

import csv
import io
from decimal import Decimal

import pytest
from django.test import Client

from billing.actions import NewFee, capture_charge, hold_charge, set_fee
from billing.models import Charge, Fee
from billing.states import Component
from ris.audit.models import AuditEvent
from ris.core.errors import BadValue, NotAllowed
from ris.core.tables import as_csv, guarded, unguarded
from ris.exams.models import Exam
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def ben(client: Client) -> Client:
    client.force_login(person("ben"))
    return client


def charge(family: str = "Okafor", *, priced: bool = True, component: str = Component.TECHNICAL) -> Charge:
    if priced:
        set_fee(NewFee("CT-T", Decimal(180)), by=person("ben"))
    order = makers.make_order(patient=makers.make_patient(family, "Adaeze"))
    exam: Exam = makers.make_exam(order, completed=True)
    return capture_charge(exam, component, by=person("ben"))


def test_new_charges_stand_with_patient_exam_code_and_amount(ben: Client) -> None:
    charge("Samuels")
    page = ben.get("/billing/charges").content.decode()
    assert "SAMUELS, Adaeze" in page
    assert "CT head" in page
    assert "180.00" in page
    assert "180.00 USD" in page  # the total


def test_a_charge_without_a_fee_waits_under_held_and_says_what_it_lacks(ben: Client) -> None:
    charge(priced=False)
    assert "no fee for code CT-T" in ben.get("/billing/charges?status=held").content.decode()
    assert "CT-T" in ben.get("/billing/fees").content.decode()


def test_a_priced_code_lets_its_held_charge_go(ben: Client) -> None:
    held = charge(priced=False)
    refused = ben.post(f"/billing/charges/{held.pk}/release")
    assert refused.status_code == 409
    assert "There is no fee for code CT-T" in refused.content.decode()
    answer = ben.post(
        "/billing/fees/new", {"code": "CT-T", "name": "", "amount": "175.50", "currency": "USD"}
    )
    assert answer.status_code == 303
    assert ben.post(f"/billing/charges/{held.pk}/release").status_code == 303
    held.refresh_from_db()
    assert (held.status, held.amount) == ("captured", Decimal("175.50"))


def test_holding_and_voiding_ask_for_a_reason(ben: Client) -> None:
    found = charge()
    empty = ben.post(f"/billing/charges/{found.pk}/hold", {})
    assert empty.status_code == 422
    assert "Pick the reason." in empty.content.decode()
    ben.post(f"/billing/charges/{found.pk}/hold", {"reason": "Wrong code", "words": "asked Dr Lindgren"})
    found.refresh_from_db()
    assert (found.status, found.reason) == ("held", "Wrong code: asked Dr Lindgren")
    ben.post(f"/billing/charges/{found.pk}/void", {"reason": "Charged twice"})
    found.refresh_from_db()
    assert (found.status, found.reason) == ("voided", "Charged twice")


def test_a_manager_sees_charges_but_may_not_change_them(client: Client) -> None:
    found = charge()
    client.force_login(person("mona"))
    page = client.get("/billing/charges").content.decode()
    assert "Void…" not in page
    assert client.post(f"/billing/charges/{found.pk}/void", {"reason": "Charged twice"}).status_code == 403
    with pytest.raises(NotAllowed):
        set_fee(NewFee("X", Decimal(1)), by=person("mona"))


def test_filters_narrow_the_list_and_its_total(ben: Client) -> None:
    charge("Samuels")
    set_fee(NewFee("CT-P", Decimal(60)), by=person("ben"))
    exam = Exam.objects.get()
    capture_charge(exam, Component.PROFESSIONAL, by=person("ben"))
    assert "240.00 USD" in ben.get("/billing/charges").content.decode()
    assert "60.00 USD" in ben.get("/billing/charges?component=professional").content.decode()
    assert "No charges here" in ben.get("/billing/charges?modality=MR").content.decode()
    assert ben.get("/billing/charges?status=nonsense&modality=%00").status_code == 200


def test_a_charge_is_found_by_its_accession_number_whatever_its_state(ben: Client) -> None:
    found = charge("Samuels")
    hold_charge(found, reason="x", by=person("ben"))
    number = found.exam.order.accession_number
    page = ben.post("/billing/charges", {"text": f"{number[:3]}-{number[3:6]} {number[6:]}"}).content.decode()
    assert "SAMUELS" in page


def test_the_page_of_a_charge_leads_to_its_exam_order_and_history(ben: Client) -> None:
    found = charge()
    hold_charge(found, reason="Wrong code", by=person("ben"))
    page = ben.get(f"/billing/charges/{found.pk}").content.decode()
    assert f"/orders/{found.exam.order_id}" in page
    assert "Held by Ben Biller" in page
    assert "Captured by Ben Biller" in page


def test_an_export_is_in_the_trail_and_runs_nothing_in_a_spreadsheet(ben: Client) -> None:
    charge('=HYPERLINK("http://evil")')
    answer = ben.get("/billing/charges/export?component=technical")
    assert answer["Content-Disposition"].startswith('attachment; filename="charges-captured-')
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert rows[0][:2] == ["captured", "accession"]
    assert rows[1][3].startswith("'=HYPERLINK")
    event = AuditEvent.objects.get(action="charge.export")
    assert (event.username, event.details["count"], event.details["component"]) == ("ben", 1, "technical")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_formula_becomes_text_and_comes_back_as_it_was(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"
    assert unguarded(guarded(cell)) == cell


def test_plain_cells_stay_plain() -> None:
    assert as_csv(["a"], [["O'Brien"], [None], [Decimal("1.50")]]) == '\ufeffa\r\nO\'Brien\r\n""\r\n1.50\r\n'
    assert unguarded("'quoted'") == "'quoted'"


def test_a_changed_fee_counts_from_now_on(ben: Client) -> None:
    found = charge()
    fee = Fee.objects.get(code="CT-T")
    answer = ben.post(
        f"/billing/fees/{fee.pk}", {"amount": "199", "name": "CT", "currency": "USD", "code": "OTHER"}
    )
    assert answer.status_code == 303
    fee.refresh_from_db()
    found.refresh_from_db()
    assert (fee.code, fee.amount, found.amount) == ("CT-T", Decimal(199), Decimal(180))
    assert ben.post(f"/billing/fees/{fee.pk}", {"amount": "a lot", "currency": "USD"}).status_code == 422
    with pytest.raises(BadValue):
        set_fee(NewFee("CT-T", Decimal(-1)), by=person("ben"))


def test_the_list_asks_as_much_for_thirty_charges_as_for_one(
    ben: Client, django_assert_max_num_queries: object
) -> None:
    for place in range(12):
        charge(f"Family{place}")
    with django_assert_max_num_queries(14):  # type: ignore[operator]
        ben.get("/billing/charges")
