"""The doors of safety: who may, what is said at which field, and what a list costs."""

from datetime import timedelta

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from ris.core.formats import today
from ris.orders.models import Order
from ris.safety.actions import ask_clearance, note_fact
from ris.safety.models import (
    AnswerSet,
    Implant,
    Questionnaire,
    Reaction,
    RenalValue,
    RuleSetting,
    Stage,
    Statement,
)
from ris.safety.passport import passport_for
from tests import makers
from tests.cast import person
from tests.ris.safety.cases import order_of, screen

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("questionnaires")]


def signed_in(name: str) -> Client:
    client = Client()
    client.force_login(person(name))
    return client


def stopped_order(**patient: str) -> Order:
    order = order_of("MR", **patient)
    note_fact(Implant(patient=order.patient, name="Pacemaker", mr="unsafe"), by=person("theo"))
    return order


def test_the_desk_keeps_what_the_patient_answers_and_the_technologist_reviews_it() -> None:
    order = order_of("MR")
    desk, theo = signed_in("clara"), signed_in("theo")
    url = f"/orders/{order.pk}/safety"
    page = desk.get(url).content.decode()
    assert "Keep answers" in page
    assert "Reviewed with patient" not in page
    questionnaire = Questionnaire.objects.get(code="MR")
    codes = [one["code"] for one in questionnaire.questions if one["kind"] == "yesno"]
    sent = {f"a-{questionnaire.pk}-{code}": "no" for code in codes} | {"said_by": "patient"}
    some = {name: value for name, value in sent.items() if not name.endswith("pacemaker")}
    assert desk.post(url, some).status_code == 303, "at arrival some may stay open"
    page = theo.get(url).content.decode()
    assert page.count("<b>No</b>") == len(codes) - 1, "the patient's answers stand beside the questions"
    refused = theo.post(url, some | {"reviewed": "on"})
    assert refused.status_code == 422
    assert "Pick an answer." in refused.content.decode()
    assert "Go through the answers" in theo.post(url, sent).content.decode()
    assert theo.post(url, sent | {"reviewed": "on"}).headers["Location"] == f"/orders/{order.pk}/start"
    assert AnswerSet.objects.get(stage=Stage.INTERVIEW).entered_by == person("theo")
    assert passport_for(order).reviewed


def test_the_card_asks_and_the_radiologist_clears_or_refuses() -> None:
    order = stopped_order()
    theo, rita = signed_in("theo"), signed_in("rita")
    assert "Do not start" in theo.get(f"/orders/{order.pk}/safety").content.decode()
    assert theo.get("/safety").status_code == 403
    back = theo.post(
        f"/orders/{order.pk}/safety/ask/mr-implant",
        HTTP_REFERER=f"http://testserver/orders/{order.pk}/safety",
    )
    assert back.headers["Location"] == f"/orders/{order.pk}/safety"
    assert "Asked a radiologist at" in theo.get(f"/orders/{order.pk}/safety").content.decode()
    assert theo.post(f"/orders/{order.pk}/safety/ask/reaction").status_code == 422
    assert "Pacemaker is MR unsafe" in rita.get("/safety").content.decode()
    assert '<span class="n">1' in rita.get("/safety").content.decode(), "the badge in the rail"
    url = f"/orders/{order.pk}/safety/clear/mr-implant"
    assert theo.post(url, {"reason": "x"}).status_code == 403
    assert "Say on what grounds" in rita.post(url, {"reason": ""}).content.decode()
    assert rita.post(url, {"reason": "Do not", "refuse": "1"}).status_code == 303
    assert "says no: Do not" in theo.get(f"/orders/{order.pk}/safety").content.decode()
    assert rita.post(url, {"reason": "Removed last year"}).status_code == 303
    assert "Cleared by Rita Radiologist" in theo.get(f"/orders/{order.pk}/safety").content.decode()


def test_facts_are_noted_verified_and_withdrawn_on_the_patients_page() -> None:
    order = order_of("MR")
    theo, url = signed_in("theo"), f"/p/{order.patient_id}/safety"
    good: dict[str, dict[str, str]] = {
        "implant": {"name": "Pacemaker", "mr": "conditional", "max_tesla": "1.5", "implanted_on": "2019", "source": "card"},
        "reaction": {"kind": "iodine", "severity": "mild", "source": "patient"},
        "renal": {"creatinine": "80", "unit": "umol", "measured": "-3d", "source": "lab"},
        "pregnancy": {"value": "not", "source": "patient"},
        "weight": {"value": "81.5", "source": "patient"},
    }  # fmt: skip
    for what, sent in good.items():
        assert theo.get(f"{url}/add/{what}").status_code == 200, what
        assert theo.post(f"{url}/add/{what}", sent).status_code == 303, what
    for what, sent, words in (
        ("implant", {"name": "Pump", "mr": "conditional", "source": "card"}, "Write the conditions"),
        (
            "implant",
            {"name": "Pump", "mr": "safe", "source": "card", "implanted_on": "31 02 2019"},
            "Write a day",
        ),
        ("renal", {"unit": "mg", "measured": "t", "source": "lab"}, "Enter the eGFR"),
        ("renal", {"egfr": "70", "unit": "mg", "measured": "+3d", "source": "lab"}, "Write a day"),
        ("metformin", {"source": "patient"}, "Pick an answer"),
    ):
        answer = theo.post(f"{url}/add/{what}", sent)
        assert (answer.status_code, words in answer.content.decode()) == (422, True), (what, sent)
    assert theo.get(f"{url}/add/nothing").status_code == 404
    device = Implant.objects.get()
    assert (device.implanted_on, device.mr) == ("2019", "conditional")
    assert RenalValue.objects.get().calculated
    assert signed_in("clara").post(f"{url}/implant/{device.pk}/verify").status_code == 403
    assert theo.post(f"{url}/implant/{device.pk}/verify").status_code == 303
    page = theo.get(url).content.decode()
    assert "verified by Theo Technologist" in page
    other = makers.make_patient("Other")
    assert theo.post(f"/p/{other.pk}/safety/implant/{device.pk}/withdraw", {"reason": "x"}).status_code == 404
    assert "Say why" in theo.post(f"{url}/implant/{device.pk}/withdraw", {"reason": ""}).content.decode()
    assert (
        theo.post(f"{url}/implant/{device.pk}/withdraw", {"reason": "Another patient's"}).status_code == 303
    )
    assert "Another patient&#x27;s" in theo.get(url).content.decode()
    card = theo.get(f"{url}/card").content.decode()
    assert "<svg" in card
    assert "Safety passport" in card
    assert "asked" in theo.get(f"/p/{order.patient_id}").content.decode()
    assert Statement.objects.filter(patient=order.patient).count() == 2
    assert Reaction.objects.count() == 1


def test_editions_and_rules_are_changed_by_the_administrator() -> None:
    ada = signed_in("ada")
    first = Questionnaire.objects.get(code="PREG")
    assert "edition 1" in ada.get("/admin/questionnaires").content.decode()
    assert ada.post(f"/admin/questionnaires/{first.pk}", {"title": "x"}).status_code == 409
    copied = ada.post(f"/admin/questionnaires/{first.pk}/copy").headers["Location"]
    page = ada.get(copied).content.decode()
    assert "Publish what is saved" in page
    draft = Questionnaire.objects.get(code="PREG", status="draft")
    sent = {
        "title": "Pregnancy", "modalities": ["CT", "DX"], "contrast": "any", "childbearing": "on", "valid_days": "0",
        "version": str(draft.version), "q-TOTAL_FORMS": "3", "q-INITIAL_FORMS": "2", "q-0-position": "2",
        "q-0-code": "pregnant", "q-0-text": "Could you be pregnant?", "q-0-kind": "choice", "q-0-states": "pregnancy",
        "q-0-choices": "not = No\npossible = Maybe\ndefinite = Yes", "q-1-position": "1", "q-1-code": "period",
        "q-1-text": "When did it begin?", "q-1-kind": "date",
        "q-2-kind": "yesno", "q-2-position": "",
    }  # fmt: skip
    broken = ada.post(copied, sent | {"q-0-choices": "one"})
    assert (broken.status_code, "two choices or more" in broken.content.decode()) == (422, True)
    assert ada.post(copied, sent).status_code == 303
    draft.refresh_from_db()
    assert [one["code"] for one in draft.questions] == ["period", "pregnant"]
    assert draft.questions[1]["choices"][1] == ["possible", "Maybe"]
    assert "Other words" in ada.get(copied).content.decode()
    assert ada.post(f"{copied}/publish").status_code == 303
    assert ada.get("/admin/safety-rules").status_code == 200
    rule = {
        "active": "on",
        "valid_days": "0",
        "age_from": "12",
        "age_to": "50",
        "modalities": ["CT"],
        "except_parts": "Hand, foot",
    }
    assert ada.get("/admin/safety-rules/pregnancy").status_code == 200
    assert ada.post("/admin/safety-rules/pregnancy", rule | {"age_from": "60"}).status_code == 422
    assert ada.post("/admin/safety-rules/pregnancy", rule).status_code == 303
    kept = RuleSetting.objects.get(code="pregnancy")
    assert (kept.age_to, kept.except_parts) == (50, ["hand", "foot"])


def test_the_list_of_those_who_ask_costs_the_same_for_many(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    rita = signed_in("rita")
    for number in range(5):
        order = stopped_order(family=f"Family{number}")
        screen(order, Stage.ARRIVAL)
        note_fact(
            RenalValue(patient=order.patient, egfr=60, measured_on=today() - timedelta(days=1)),
            by=person("theo"),
        )
        ask_clearance(order, "mr-implant", by=person("theo"))
        if number == 0:
            rita.get("/safety")
            with django_assert_num_queries(26, exact=False) as few:
                rita.get("/safety")
    with django_assert_num_queries(len(few)):
        rita.get("/safety")
