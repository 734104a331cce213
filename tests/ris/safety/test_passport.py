"""May we today? Rules against facts, clearances, and what stands until when."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from ris.orders.models import Order
from ris.safety.actions import note_fact
from ris.safety.models import Implant
from ris.safety.passport import passport_for
from ris.safety.rules import Verdict
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def mr_order(**fields: Any) -> Order:
    kind = makers.make_procedure_type("MRKNEE", name="MR knee", modality="MR", body_part="Knee")
    return makers.make_order(procedure_type=kind, **fields)


def test_smoke() -> None:
    order = mr_order()
    assert passport_for(order).verdict == Verdict.YES
    note_fact(Implant(patient=order.patient, name="Pacemaker", mr="unsafe", max_tesla=Decimal("1.5")), by=person("theo"))
    assert passport_for(order).verdict == Verdict.NO
