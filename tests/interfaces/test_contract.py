"""MLLP-22: a partner's interface contract says what it is really sent, and finds what departs from it."""

import pytest

from interfaces import contract
from interfaces.actions import save_endpoint
from interfaces.models import OutboundMessage
from ris.accounts.models import User
from ris.events.outbox import relay_all
from ris.orders.models import Order
from ris.patients.models import Patient
from tests.cast import person
from tests.makers import make_appointment, make_exam, make_facility, make_procedure_type, make_report

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("version", ["2.3.1", "2.5.1"])
def test_the_contract_describes_what_is_sent_and_leaves_nothing_behind(version: str) -> None:
    make_facility()
    emr = save_endpoint(
        "EMR",
        {"address": "127.0.0.1:1", "facts": ["orders", "results"], "hl7_version": version},
        by=person("ada"),
    )
    before = [table.objects.count() for table in (Patient, Order, OutboundMessage, User)]
    found = contract.contract_of(emr)
    assert [table.objects.count() for table in (Patient, Order, OutboundMessage, User)] == before
    told = {one.name for one in found.conversations}
    assert {
        "ORM^O01 NW",
        "ORM^O01 XO",
        "ORM^O01 SC",
        "ORM^O01 CA",
        "ORU^R01 P",
        "ORU^R01 F",
        "ORU^R01 C",
    } <= {name.replace("^ORM_O01", "").replace("^ORU_R01", "") for name in told}
    (new,) = [one for one in found.conversations if one.name.endswith(" NW")]
    uses = {field.location: field.usage for segment in new.segments for field in segment.fields}
    assert uses["PID-3"] == "always"
    assert uses["PID-7"] == "when known"
    assert uses["ZDS-1"] == "always"
    assert new.sample.startswith("MSH|^~\\&|LIGHTBOX")
    assert found.as_json()["conversations"]


def test_what_was_really_sent_is_held_against_the_contract() -> None:
    make_facility()
    emr = save_endpoint("EMR", {"address": "127.0.0.1:1", "facts": ["orders", "results"]}, by=person("ada"))
    make_report(make_exam(make_appointment().order, completed=True), signed=True)
    relay_all()
    agreed, checked, wrong = contract.look_up(emr, by=person("ada"))
    assert checked >= 5
    assert wrong == [], [f"{one.message.type} {one.what}" for one in wrong]
    without = contract.Contract(
        **{
            **{name: getattr(agreed, name) for name in agreed.__slots__},
            "conversations": agreed.conversations[:1],
        }
    )
    _, missed = contract.breaches(emr, without)
    assert any("is not in the contract" in one.what for one in missed)


def test_appointments_and_charges_stand_in_the_contract_too() -> None:
    make_facility()
    make_procedure_type()
    bill = save_endpoint(
        "BILL", {"address": "127.0.0.1:1", "facts": ["charges", "schedule"]}, by=person("ada")
    )
    told = {one.name for one in contract.contract_of(bill).conversations}
    assert {"DFT^P03 CG", "DFT^P03 CD"} <= {name.replace("^DFT_P03", "") for name in told}
    assert {"SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15", "SIU^S26"} <= {name.split()[0][:7] for name in told}


def test_a_partner_that_sends_is_told_what_is_taken() -> None:
    make_facility()
    his = save_endpoint("HIS", {"direction": "in"}, by=person("ada"))
    found = contract.contract_of(his)
    assert "ADT^A08" in dict(found.taken)
    assert all(text for _, text in found.taken), [kind for kind, text in found.taken if not text]
    assert found.conversations == ()
