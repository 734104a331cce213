"""Numbers, replacements and other exams than asked."""

import pytest

from ris.core.errors import BadValue, Conflict, Duplicate, IllegalTransition
from ris.events.models import Event
from ris.orders.actions import (
    assign_placer_number,
    change_procedure,
    find_by_placer,
    request_again,
)
from scheduling.actions import replace_order
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def test_two_senders_may_use_one_number_and_a_namespace_finds_it_from_anywhere() -> None:
    """ORD-12, SCN-23."""
    bare = [makers.make_order(placer_order_number="1", source=source) for source in ("north", "south")]
    with pytest.raises(Duplicate):
        makers.make_order(placer_order_number="1", source="north")
    assert [find_by_placer("1", "", source=source) for source in ("north", "south", "east")] == [*bare, None]
    named = makers.make_order(placer_order_number="2", placer_authority="EPIC", source="north")
    assert find_by_placer("2", "EPIC", source="south") == named
    own = makers.make_order(placer_order_number="2", placer_authority="EPIC", source="south")
    assert find_by_placer("2", "EPIC", source="south") == own
    assert find_by_placer("2", "EPIC", source="east") is None


def test_the_placer_numbers_an_order_of_ours_once() -> None:
    """FIL-02."""
    order = makers.make_order()
    numbered = assign_placer_number(order, "P7", "EPIC", source="epic", by=person("epic"))
    assert (numbered.placer_order_number, numbered.placer_authority, numbered.source) == (
        "P7",
        "EPIC",
        "epic",
    )
    assign_placer_number(order, "P7", "EPIC", source="epic", by=person("epic"))
    assert Event.objects.filter(kind="order.numbered").count() == 1
    with pytest.raises(Conflict):
        assign_placer_number(order, "P8", "EPIC", source="epic", by=person("epic"))
    with pytest.raises(Duplicate):
        assign_placer_number(makers.make_order(), "P7", "EPIC", source="epic", by=person("epic"))


def test_a_replaced_order_leaves_its_time_to_the_new_one_where_it_fits() -> None:
    """ORD-05, FIL-09."""
    contrast = makers.make_procedure_type("CTHEADC", name="CT head with contrast")
    order = makers.make_order(placer_order_number="1", source="epic")
    planned = makers.make_appointment(order)
    new = replace_order(order, request_again(order, contrast), by=person("clara"))
    order.refresh_from_db()
    assert (order.status, new.status, new.replaces, new.placer_order_number) == (
        "cancelled", "scheduled", order, "",
    )  # fmt: skip
    booked = new.appointments.get()
    assert (booked.room, booked.starts_at, new.reason) == (planned.room, planned.starts_at, order.reason)
    elsewhere = makers.make_procedure_type("MRHEAD", name="MR head", modality="MR")
    waiting = replace_order(new, request_again(new, elsewhere), by=person("clara"))
    assert (waiting.status, waiting.appointments.count()) == ("requested", 0)
    begun = makers.make_exam().order
    with pytest.raises(IllegalTransition):
        replace_order(begun, request_again(begun, contrast), by=person("clara"))


def test_another_exam_done_than_asked_counts_from_the_start_on() -> None:
    """PRO-08."""
    contrast = makers.make_procedure_type("CTHEADC", name="CT head with contrast")
    with pytest.raises(IllegalTransition):
        change_procedure(makers.make_order().procedures.get(), contrast, by=person("theo"))
    procedure = makers.make_exam().procedure
    changed = change_procedure(procedure, contrast, by=person("theo"))
    assert (changed.code, changed.label, changed.procedure_type) == (
        "CTHEADC", "CT head with contrast", contrast,
    )  # fmt: skip
    with pytest.raises(BadValue):
        change_procedure(procedure, contrast, side="L", by=person("theo"))
