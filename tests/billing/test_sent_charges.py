"""What becomes of a charge that a receiver has taken, and of one that waits for what it lacks."""

from decimal import Decimal

import pytest
from django.test import Client

from billing.actions import (
    NewFee,
    capture_charge,
    complete_charges,
    hold_charge,
    mark_sent,
    release_charge,
    set_fee,
    void_charge,
)
from billing.models import Charge
from billing.states import Component
from ris.core.errors import IllegalTransition, NotAllowed
from ris.events.models import Event
from tests.cast import person
from tests.makers import make_exam

pytestmark = pytest.mark.django_db


def charge() -> Charge:
    set_fee(NewFee("CT-T", Decimal(180)), by=person("ben"))
    return capture_charge(make_exam(completed=True), Component.TECHNICAL, by=person("ben"))


def test_the_first_receiver_that_takes_a_charge_makes_it_sent() -> None:
    found, epic = charge(), person("epic")
    mark_sent(found, sent_as="office 1", by=epic)
    mark_sent(found, sent_as="other 2", by=epic)
    found.refresh_from_db()
    assert (found.status, found.sent_as, found.sent_at is None) == ("sent", "office 1", False)
    assert Event.objects.filter(kind="charge.sent").count() == 1


def test_a_sent_charge_is_voided_but_never_held_or_changed() -> None:
    """CHG-15."""
    found, ben = charge(), person("ben")
    mark_sent(found, sent_as="office 1", by=ben)
    with pytest.raises(IllegalTransition):
        hold_charge(found, reason="Wrong code", by=ben)
    with pytest.raises(IllegalTransition):
        release_charge(found, by=ben)
    assert void_charge(found, reason="Wrong code", by=ben).status == "voided"
    mark_sent(found, sent_as="late 3", by=ben)  # its acceptance came when it had been voided
    found.refresh_from_db()
    assert (found.status, found.sent_as) == ("voided", "office 1")


def test_only_what_was_held_for_the_reason_that_went_away_is_let_go() -> None:
    """CHG-17."""
    found, ben = charge(), person("ben")
    hold_charge(found, reason="Wrong code", by=ben)
    assert complete_charges(found.exam.order, had_lacked={"No diagnosis"}, by=person("epic")) == []
    release_charge(found, by=ben)
    hold_charge(found, reason="No diagnosis", by=ben)
    (released,) = complete_charges(found.exam.order, had_lacked={"No diagnosis"}, by=person("epic"))
    assert (released.pk, released.status, released.reason) == (found.pk, "captured", "")
    with pytest.raises(NotAllowed):
        complete_charges(found.exam.order, had_lacked=set(), by=person("clara"))


def test_the_page_says_as_which_message_a_charge_was_taken(client: Client) -> None:
    found = charge()
    mark_sent(found, sent_as="office 2611220007", by=person("ben"))
    client.force_login(person("ben"))
    assert "office 2611220007" in client.get(f"/billing/charges/{found.pk}").content.decode()
