"""Who has to look at an exam, what is decided, and what comes of it."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotAllowed
from ris.department.models import Practitioner
from ris.events.models import Event
from ris.events.outbox import relay_all
from ris.exams import actions as exams
from ris.orders import actions as orders
from ris.protocolling import actions
from ris.protocolling.evidence import Evidence, egfr_told
from ris.protocolling.models import Bypass, Condition, ExamRule, Protocol, ProtocolRequest
from ris.protocolling.suggestions import rank, suggestions_for
from ris.protocolling.worklists import protocol_of, protocols_for, waiting
from scheduling import actions as scheduling
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def _kinds(request: ProtocolRequest) -> list[str]:
    found = Event.objects.filter(subject=request.order.subject).order_by("id")
    return [kind for kind in found.values_list("kind", flat=True) if kind.startswith(("protocol.", "order."))]


def test_a_placed_order_waits_for_a_protocol_where_its_exam_needs_one() -> None:
    protocol = makers.make_protocol(default=True)
    order, plain = makers.make_order(), makers.make_order(procedure_type=makers.make_procedure_type("CTKUB"))
    relay_all()
    assert protocols_for([order, plain]).keys() == {order.pk}
    assert waiting() == 1
    request = protocol_of(order.procedures.get())
    assert request is not None
    assert request.status == "wanted"
    assert [one.protocol for one in suggestions_for(request)] == [protocol]


def test_nobody_has_to_look_when_a_rule_says_so() -> None:
    """O13."""
    kind = makers.make_procedure_type()
    protocol = makers.make_protocol(default=True, least_egfr=30, contrast_agent="Iohexol 350 mg/mL")
    rita = Practitioner.objects.create(
        identifier="R1", family="Radiologist", prefix="Dr", user=person("rita")
    )
    low = ({"code": "33914-3", "question": "eGFR", "value": "24", "units": "mL/min"},)
    cases: list[tuple[dict[str, Any] | None, dict[str, Any], str]] = [
        (None, {}, ""),
        ({"condition": Condition.LISTED, "procedure_type": kind}, {}, "on the list"),
        ({"condition": Condition.LISTED, "procedure_type": kind, "active": False}, {}, ""),
        ({"condition": Condition.BY_RADIOLOGIST}, {"ordering": rita}, "a radiologist"),
        ({"condition": Condition.BY_RADIOLOGIST}, {}, ""),
        ({"condition": Condition.BY_RADIOLOGIST, "modality": "MR"}, {"ordering": rita}, ""),
        ({"condition": Condition.DEFAULT_FITS, "modality": "CT"}, {}, "default protocol fits"),
        ({"condition": Condition.DEFAULT_FITS}, {"answers": low}, ""),
    ]
    for bypass, order, reason in cases:
        Bypass.objects.all().delete()
        if bypass:
            Bypass.objects.create(**bypass)
        request = makers.make_protocol_request(**order)
        assert (request.status == "bypassed") == bool(reason), (bypass, order)
        assert reason in request.reason
        assert request.protocol == (protocol if reason else None)
    Bypass.objects.all().delete()
    ExamRule.objects.update(needs_protocol=False)
    assert makers.make_protocol_request().protocol == protocol


def test_a_listed_bypass_names_its_exam_in_the_database_too() -> None:
    for values in ({"condition": "listed"}, {"condition": "when it rains"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Bypass.objects.create(**values)


def test_what_is_suggested_says_why() -> None:
    """O14: prior, default, words of the request, age, kidneys, allergy; one table of what each does."""
    routine = makers.make_protocol("Abdomen portal venous", contrast_agent="Iohexol 350 mg/mL", least_egfr=30)
    plain = makers.make_protocol("Abdomen plain", indications=["stone", "renal colic"])
    liver = makers.make_protocol("Liver biphasic", contrast_agent="Iohexol 350", indications=["metastases"])
    child = makers.make_protocol("Abdomen child", below_age=16)
    low, allergic = Evidence(egfr=Decimal(24)), Evidence(allergies="Iodinated contrast")
    for evidence, expected, reason in (
        (Evidence(), [routine, child, plain, liver], "Default for this exam"),
        (
            Evidence(words=" METASTASES OF THE LIVER "),
            [routine, liver, child, plain],
            "Default for this exam",
        ),
        (Evidence(words=" RENAL COLIC STONE "), [plain, routine, child, liver], "“stone”, “renal colic”"),
        (Evidence(age=9), [routine, child, plain, liver], "Default for this exam"),
        (low, [child, plain, liver, routine], ""),
        (allergic, [child, plain, routine, liver], ""),
    ):
        ranked = rank(Protocol.objects.all(), evidence, default=routine.pk)
        assert [one.protocol for one in ranked] == expected, evidence
        assert reason in " ".join(ranked[0].reasons)
    told = Evidence(age=40, egfr=Decimal(24), allergies="Iodine")
    by_name = {one.protocol: one for one in rank(Protocol.objects.all(), told)}
    assert by_name[routine].cautions == ("eGFR 24 is below 30", "Allergy recorded: Iodine")
    assert by_name[child].cautions == ("Made for patients below 16 years; this one is 40",)
    assert by_name[plain].cautions == ()


def test_what_was_done_before_is_offered_again() -> None:
    """O12: repeat the prior protocol."""
    patient = makers.make_patient()
    makers.make_protocol("Head plain", default=True)
    special = makers.make_protocol("Head thin slices")
    before = makers.make_protocol_request(makers.make_order(patient))
    actions.approve_protocol(before, special, by=person("rita"))
    first, second = suggestions_for(makers.make_protocol_request(makers.make_order(patient)))
    assert (first.protocol, second.reasons) == (special, ("Default for this exam",))
    assert first.reasons[0].startswith("Used for this patient on ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("88", "88"), (">60", "60"), ("27.5 (low)", "27.5"), ("pending", None), ("", None)],
)
def test_the_filtration_rate_is_read_from_the_answers(value: str, expected: str | None) -> None:
    order = makers.make_order(answers=({"code": "98979-8", "question": "", "value": value, "units": ""},))
    assert egfr_told(order) == (Decimal(expected) if expected else None)


def test_an_approved_protocol_is_kept_as_it_was_decided() -> None:
    protocol = makers.make_protocol(
        "Abdomen portal venous", contrast_agent="Iohexol 350 mg/mL", contrast_ml_per_kg=Decimal("1.2"),
        contrast_max_ml=Decimal(90), premedication="Prednisolone 50 mg",
    )  # fmt: skip
    request = makers.make_protocol_request(weight_kg=Decimal("62.5"))
    request = actions.approve_protocol(request, protocol, by=person("rene"), note=" Include the groins ")
    assert (request.contrast_agent, request.contrast_ml) == ("Iohexol 350 mg/mL", Decimal(75))
    assert (request.premedication, request.note) == ("Prednisolone 50 mg", "Include the groins")
    assert protocol.dose_ml(Decimal(120)) == 90
    assert protocol.volume_rule == "1.2 mL/kg, at most 90 mL"
    protocol.contrast_agent = "Iomeprol 400 mg/mL"
    actions.save_protocol(protocol, [makers.make_procedure_type()], by=person("ada"))
    request.refresh_from_db()
    assert request.contrast_agent == "Iohexol 350 mg/mL"
    assert _kinds(request) == ["order.placed", "protocol.wanted", "protocol.approved"]


def test_who_may_decide_and_what_they_may_pick() -> None:
    other = makers.make_protocol("Neck", makers.make_procedure_type("CTNECK", name="CT neck"))
    request, protocol = makers.make_protocol_request(), makers.make_protocol()
    with pytest.raises(NotAllowed):
        actions.approve_protocol(request, protocol, by=person("theo"))
    with pytest.raises(BadValue, match="of this exam"):
        actions.approve_protocol(request, other, by=person("rita"))
    with pytest.raises(MissingData):
        actions.reject_request(request, "  ", by=person("rita"))
    with pytest.raises(Conflict, match="Somebody decided this"):
        actions.approve_protocol(request, protocol, by=person("rita"), version=request.version + 1)
    exams.start_exam(request.order, by=person("theo"))
    with pytest.raises(IllegalTransition, match="its protocol stands"):
        actions.approve_protocol(request, protocol, by=person("rita"))
    relay_all()
    request.refresh_from_db()
    assert request.status == "lapsed"


@pytest.mark.parametrize("verb", [actions.reject_request, actions.ask_referrer])
def test_what_goes_back_holds_its_order_until_it_is_answered(verb: Any) -> None:
    request = makers.make_protocol_request()
    verb(request, "MR is the better exam: suspected cord compression", by=person("rene"))
    request.order.refresh_from_db()
    assert (request.order.status, request.order.hold_reason) == (
        "held", "MR is the better exam: suspected cord compression",
    )  # fmt: skip
    assert _kinds(request)[-2] == "order.held"
    orders.release_order(request.order, by=person("clara"))
    relay_all()
    request.refresh_from_db()
    assert request.status == "wanted"


def test_a_decision_is_taken_back_with_what_it_did() -> None:
    request, protocol = makers.make_protocol_request(), makers.make_protocol()
    rita = person("rita")
    actions.reject_request(request, "Not justified", by=rita)
    actions.undo_decision(request, by=rita)
    request.order.refresh_from_db()
    assert request.order.status == "requested"
    actions.approve_protocol(request, protocol, by=rita, note="Thin slices")
    undone = actions.undo_decision(request, by=rita)
    assert (undone.status, undone.protocol, undone.note, undone.decided_by) == ("wanted", None, "", None)


def test_a_booked_order_keeps_its_time_when_its_protocol_is_refused() -> None:
    appointment = makers.make_appointment(start=makers.next_hour(3))
    request = makers.make_protocol_request(appointment.order)
    actions.reject_request(request, "Not justified", by=person("rita"))
    appointment.order.refresh_from_db()
    assert appointment.order.status == "scheduled"
    scheduling.cancel_order(appointment.order, reason="Returned", by=person("clara"))
    relay_all()
    request.refresh_from_db()
    assert request.status == "lapsed"


def test_an_exam_matched_later_wants_its_protocol_then() -> None:
    protocol = makers.make_protocol(default=True)
    order = makers.make_order(code="X9")
    relay_all()
    assert protocols_for([order]) == {}
    procedure = orders.map_procedure(order.procedures.get(), makers.make_procedure_type(), by=person("clara"))
    relay_all()
    request = protocol_of(procedure)
    assert request is not None
    actions.approve_protocol(request, protocol, by=person("rita"))
    other = makers.make_procedure_type("CTNECK", name="CT neck")
    orders.map_procedure(procedure, other, by=person("clara"))
    relay_all()
    request.refresh_from_db()
    assert (request.status, request.protocol) == ("lapsed", None)


def test_a_protocol_suits_exams_of_its_own_modality() -> None:
    protocol = makers.make_protocol()
    with pytest.raises(BadValue, match="own modality"):
        actions.save_protocol(protocol, [makers.make_procedure_type("MR1", modality="MR")], by=person("ada"))


def test_protocols_of_many_orders_take_one_query(django_assert_num_queries: Any) -> None:
    made = [makers.make_protocol_request().order for _ in range(3)]
    with django_assert_num_queries(1):
        assert len(protocols_for(made)) == 3
