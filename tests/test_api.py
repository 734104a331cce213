"""The REST door: tokens, problem+json, allow-lists, and the schema that describes it."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator  # type: ignore[attr-defined]
from drf_spectacular.validation import validate_schema

from ris.accounts.models import create_token
from ris.audit.models import AuditEvent
from ris.events.models import Event
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


class Program:
    """Somebody's program, with a token."""

    def __init__(self, name: str) -> None:
        self.client = Client(headers={"Authorization": f"Token {create_token(person(name))}"})

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1/{path}")

    def post(self, path: str, body: Any = None) -> Any:
        return self.client.post(f"/api/v1/{path}", json.dumps(body or {}), content_type="application/json")

    def patch(self, path: str, body: Any) -> Any:
        return self.client.patch(f"/api/v1/{path}", json.dumps(body), content_type="application/json")


@pytest.fixture
def clara() -> Program:
    return Program("clara")


def test_without_a_token_nothing_is_told() -> None:
    answer = Client().get("/api/v1/patients/")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"


def test_a_revoked_or_unknown_token_is_refused() -> None:
    answer = Client(headers={"Authorization": "Token nonsense"}).get("/api/v1/patients/")
    assert answer.status_code == 401
    assert answer.json()["title"] == "This token is not known or was revoked."


def test_a_patient_is_registered_changed_and_found(clara: Program) -> None:
    makers.make_facility()
    made = clara.post(
        "patients/", {"family": "Okafor", "given": "Adaeze", "birth_date": "1968-07", "sex": "F"}
    )
    assert made.status_code == 201, made.content
    patient = made.json()
    assert patient["identifiers"][0]["authority"] == "HARBOUR"
    changed = clara.patch(
        f"patients/{patient['id']}/", {"mobile": "555 0107719", "version": patient["version"]}
    )
    assert changed.json()["mobile"] == "555 0107719"
    stale = clara.patch(f"patients/{patient['id']}/", {"mobile": "1", "version": patient["version"]})
    assert (stale.status_code, stale.json()["code"]) == (409, "conflict")
    found = clara.post("patients/search/", {"text": "ada oka 1968"})
    assert [one["id"] for one in found.json()] == [patient["id"]]
    assert AuditEvent.objects.filter(action="patient.search").count() == 1


def test_bad_values_name_their_fields(clara: Program) -> None:
    makers.make_facility()
    answer = clara.post("patients/", {"family": "Okafor", "birth_date": "1968-04-31", "sex": "F"})
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "title": "There is no date 1968-04-31.", "status": 422, "code": "bad_value", "location": "birth_date",
    }  # fmt: skip
    answer = clara.post("patients/", {"given": "Nobody"})
    assert answer.status_code == 400
    assert "family" in answer.json()["errors"]


def test_an_order_is_placed_booked_and_cancelled(clara: Program) -> None:
    patient, kind, room = makers.make_patient(), makers.make_procedure_type(), makers.make_room()
    order = clara.post("orders/", {"patient": patient.pk, "procedure_type": kind.pk, "reason": "Fall"}).json()
    free = clara.get(f"slots/?procedure_type={kind.pk}").json()
    booked = clara.post("appointments/", {"order": order["id"], "room": room.pk, "start": free[0]["start"]})
    assert booked.status_code == 201
    again = clara.post("appointments/", {"order": order["id"], "room": room.pk, "start": free[1]["start"]})
    assert again.status_code == 409
    assert clara.post(f"appointments/{booked.json()['id']}/check-in/").json()["status"] == "arrived"
    cancelled = clara.post(f"orders/{order['id']}/cancel/", {"reason": "Duplicate"})
    assert cancelled.json()["status"] == "cancelled"
    assert clara.get(f"appointments/{booked.json()['id']}/").json()["status"] == "cancelled"


def test_a_role_without_the_right_is_refused_and_nothing_changes() -> None:
    report = makers.make_report()
    before = Event.objects.count()
    for name in ("clara", "theo", "rene", "ben"):
        answer = Program(name).post(f"reports/{report.pk}/sign/", {"version": 2})
        assert answer.status_code == 403, name
    assert Event.objects.count() == before


def test_a_referrer_sees_own_orders_alone() -> None:
    mine = makers.make_order(ordering=makers.make_practitioner("Mensah", user=person("rafe")))
    others = makers.make_order()
    rafe = Program("rafe")
    assert [one["id"] for one in rafe.get("orders/").json()["results"]] == [mine.pk]
    assert rafe.get(f"orders/{mine.pk}/").status_code == 200
    assert rafe.get(f"orders/{others.pk}/").status_code == 404
    assert rafe.get(f"patients/{others.patient_id}/").status_code == 403


def test_lists_are_filtered_and_ordered_from_allow_lists(clara: Program) -> None:
    first, second = makers.make_order(), makers.make_order(priority="stat")
    assert [one["id"] for one in clara.get("orders/?priority=stat").json()["results"]] == [second.pk]
    assert [one["id"] for one in clara.get("orders/?ordering=id").json()["results"]] == [first.pk, second.pk]
    # What is not on the list is not an order to sort by, and does no harm.
    assert clara.get("orders/?ordering=patient__family").status_code == 200
    assert clara.get("orders/?ordering=id);drop table orders_order").status_code == 200
    assert clara.get("orders/?limit=1").json()["count"] == 2


def test_lists_cost_the_same_for_one_and_for_many(clara: Program, django_assert_max_num_queries: Any) -> None:
    for _ in range(12):
        makers.make_appointment(start=makers.next_hour(len(Event.objects.all()) + 1))
    for path in ("patients/", "orders/", "appointments/", "exams/", "reports/", "messages/outbound/"):
        with django_assert_max_num_queries(12):
            assert clara.get(path).status_code in {200, 403}


def test_the_schema_is_whole_and_open_to_read() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    assert schema["openapi"].startswith("3.1")
    validate_schema(schema)
    assert {"/api/v1/orders/", "/api/v1/slots/", "/api/v1/reports/{id}/sign/"} <= set(schema["paths"])
    assert Client().get("/api/schema/").status_code == 200


def test_the_schema_has_no_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null")
