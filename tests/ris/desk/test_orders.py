"""The order lists and the page of one order."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from ris.audit.models import AuditEvent
from ris.orders import actions
from ris.orders.models import Order
from ris.orders.worklists import order_list
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def clara(client: Client) -> Client:
    client.force_login(person("clara"))
    return client


def _text(client: Client, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status, answer.content[:400]
    return " ".join(answer.content.decode().split())


def _listed(view: str, **filters: str) -> list[Order]:
    return list(order_list(person("clara"), view, **filters))


def test_each_order_stands_in_the_list_of_what_it_waits_for(clara: Client) -> None:
    to_book = makers.make_order()
    unknown = makers.make_order(code="RAD77", source="EPIC")
    held = actions.hold_order(makers.make_order(), reason="Waits for labs", by=person("clara"))
    booked = makers.make_appointment().order
    started = makers.make_exam().order
    assert _listed("to-book") == [to_book, unknown]
    assert _listed("codes") == [unknown]
    assert _listed("held") == [held]
    assert _listed("scheduled") == [booked]
    assert _listed("in-progress") == [started]
    assert _listed("all") == [started, booked, held, unknown, to_book]
    page = _text(clara, "/orders")
    assert 'To book <b class="n">2</b>' in page
    assert 'Codes to match <b class="n">1</b>' in page
    assert f'href="/orders/{unknown.pk}/match/{unknown.procedures.get().pk}"' in page
    assert "Exam code RAD77 is not known" in page
    assert "Waits for labs" in _text(clara, "/orders?view=held")
    assert booked.appointments.get().room.name in _text(clara, "/orders?view=scheduled")


def test_what_is_due_first_stands_first() -> None:
    now = timezone.now()
    routine = makers.make_order(ordered_at=now - timedelta(days=20))
    stat = makers.make_order(priority="stat")
    wanted = makers.make_order(wanted_at=now + timedelta(minutes=30))
    urgent = makers.make_order(priority="asap")
    assert _listed("to-book") == [routine, wanted, stat, urgent]


def test_filters_narrow_the_list(clara: Client) -> None:
    ct = makers.make_order(priority="stat")
    mr = makers.make_order(procedure_type=makers.make_procedure_type("MRHEAD", name="MR head", modality="MR"))
    assert _listed("to-book", modality="MR") == [mr]
    assert _listed("to-book", priority="stat") == [ct]
    assert f'id="order-{ct.pk}"' not in _text(clara, "/orders?m=MR")
    assert "No order fits these filters." in _text(clara, "/orders?m=NM")


def test_a_name_or_number_to_find_comes_by_post(clara: Client) -> None:
    order = makers.make_order(makers.make_patient("Duarte", "Silvia"), placer_order_number="P-991")
    makers.make_order(makers.make_patient("Klein", "Otto"))
    for typed in (
        "duar",
        order.accession_number,
        f"{order.accession_number[:3]}-{order.accession_number[3:6]} {order.accession_number[6:]}",
        "P-991",
    ):
        page = clara.post("/orders", {"q": typed}).content.decode()
        assert f'id="order-{order.pk}"' in page, typed
        assert "KLEIN" not in page
        assert "data-live=" not in page
    assert "No order matches" in clara.post("/orders", {"q": "nobody"}).content.decode()


def test_empty_lists_say_why_and_where_to_go(clara: Client) -> None:
    assert "No request waits to be booked." in _text(clara, "/orders")
    assert "There are no orders yet." in _text(clara, "/orders?view=all")


def test_the_list_is_answered_anew_only_when_something_changed(clara: Client) -> None:
    order = makers.make_order()
    page = _text(clara, "/orders")
    version = page.split('data-live-version="')[1].split('"')[0]
    live = {"X-Live": "1"}
    assert clara.get(f"/orders?since={version}", headers=live).status_code == 204
    actions.hold_order(order, reason="Waits for labs", by=person("clara"))
    answer = clara.get(f"/orders?since={version}", headers=live)
    assert answer.status_code == 200
    assert answer.content.decode().strip().startswith("<section")


def test_looking_at_a_list_is_noted_once(clara: Client) -> None:
    makers.make_order()
    makers.make_order()
    clara.get("/orders")
    clara.get("/orders", headers={"X-Live": "1"})
    assert [row.details for row in AuditEvent.objects.filter(action="order.list")] == [{"count": 2}]


def test_the_list_takes_as_many_queries_for_many_orders_as_for_one(
    clara: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(12):
        makers.make_order()
    for number in range(3):
        makers.make_appointment(start=makers.next_hour(number + 1))
    for url in ("/orders", "/orders?view=scheduled", "/orders?view=all"):
        with django_assert_max_num_queries(18):
            assert clara.get(url).status_code == 200


def test_a_referrer_sees_their_own_orders_only(client: Client) -> None:
    own = makers.make_order(ordering=makers.make_practitioner("Rafael", user=person("rafe")))
    other = makers.make_order()
    client.force_login(person("rafe"))
    page = _text(client, "/orders")
    assert f'id="order-{own.pk}"' in page
    assert f'id="order-{other.pk}"' not in page
    assert 'To book <b class="n">1</b>' in page
    assert "/p/" not in page
    assert _text(client, f"/orders/{own.pk}")
    _text(client, f"/orders/{other.pk}", 404)


def test_the_page_of_an_order_tells_its_course(clara: Client) -> None:
    appointment = makers.make_appointment()
    order = appointment.order
    exam = makers.make_exam(order, completed=True)
    report = makers.make_report(exam, signed=True)
    page = _text(clara, f"/orders/{order.pk}")
    for words in ("Ordered", "Booked", "Exam started", "Exam completed", "Report signed", order.reason, "Clara Clerk",
                  f'href="/exams/{exam.pk}"', f'href="/reports/{report.pk}"', f'href="/reports/{report.pk}/pdf"',
                  f'href="/p/{order.patient_id}"'):  # fmt: skip
        assert words in page, words
    assert "Cancel…" not in page
    look = AuditEvent.objects.get(action="order.view")
    assert (look.patient, look.subject) == (order.patient_id, order.accession_number)


def test_the_page_offers_what_the_status_allows(clara: Client) -> None:
    order = makers.make_order()
    page = _text(clara, f"/orders/{order.pk}")
    for words in ("Hold…", "Cancel…", f"?order={order.pk}"):
        assert words in page
    actions.hold_order(order, reason="Waits for labs", by=person("clara"))
    page = _text(clara, f"/orders/{order.pk}")
    assert "Release" in page
    assert "Hold…" not in page
    booked = makers.make_appointment()
    page = _text(clara, f"/orders/{booked.order.pk}")
    assert f"#appt-{booked.pk}" in page
    unknown = makers.make_order(code="RAD77", source="EPIC")
    page = _text(clara, f"/orders/{unknown.pk}")
    assert "The exam code RAD77 is not known here." in page
    assert f"?order={unknown.pk}" not in page


def test_an_order_is_withdrawn_with_its_booking(clara: Client) -> None:
    appointment = makers.make_appointment()
    url = f"/orders/{appointment.order.pk}/cancel"
    assert "Its booking is cancelled too." in _text(clara, url)
    assert clara.post(url, {}).status_code == 422
    clara.post(url, {"reason": "Patient declined"})
    order = Order.objects.get()
    appointment.refresh_from_db()
    assert (order.status, order.cancel_reason, appointment.status) == (
        "cancelled",
        "Patient declined",
        "cancelled",
    )
    assert "Patient declined" in _text(clara, f"/orders/{order.pk}")
    assert clara.post(url, {"reason": "Patient declined"}).status_code == 409


def test_a_reader_of_drafts_is_no_referrer(client: Client) -> None:
    own = makers.make_practitioner("Rafael", user=person("rafe"))
    report = makers.make_report(makers.make_exam(makers.make_order(ordering=own), completed=True))
    order = Order.objects.get()
    client.force_login(person("rafe"))
    page = _text(client, f"/orders/{order.pk}")
    assert "Not signed yet" in page
    assert f"/reports/{report.pk}" not in page


def test_reasons_are_text_never_markup(clara: Client) -> None:
    marker = "<img src=x onerror=alert(1)>"
    order = makers.make_order(reason=marker, clinical_info=marker, code=marker[:20], code_text=marker)
    for page in (
        _text(clara, "/orders"),
        _text(clara, f"/orders/{order.pk}"),
        _text(clara, f"/p/{order.patient_id}"),
    ):
        assert "<img" not in page
        assert "&lt;img" in page
