"""Bytes go by months and rows after years; what waits for somebody never goes."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import InternalError, ProgrammingError, connection, transaction
from django.utils import timezone

from interfaces import engine, retention
from interfaces.actions import configure_endpoint, resend
from interfaces.cases import NewCase, open_case
from interfaces.models import Attachment, CaseKind, Endpoint, InboundMessage, MessageBody, OutboundMessage
from interfaces.models_bodies import LARGE, take_out, today
from ris.accounts.models import system_user
from ris.audit.models import AuditEvent
from ris.core.errors import IllegalTransition
from ris.core.identifiers import new_control_id
from tests.cast import person

pytestmark = pytest.mark.django_db

PDF = b"JVBERi0x" * (LARGE // 8)


@pytest.fixture
def partner() -> Endpoint:
    given = {"protocol": "mllp", "direction": "out", "address": "127.0.0.1:1"}
    return configure_endpoint("emr", given, by=system_user("shell"))


def came(stored_on: date, status: str = "processed", raw: bytes = b"MSH|came") -> InboundMessage:
    return InboundMessage.objects.create(
        raw=raw, ack=b"MSA|AA", digest=b"d", status=status, control_id=new_control_id(), stored_on=stored_on,
        received_at=datetime.combine(stored_on, datetime.min.time(), UTC),
    )  # fmt: skip


def went(
    partner: Endpoint, stored_on: date, status: str = "accepted", raw: bytes = b"MSH|went"
) -> OutboundMessage:
    return OutboundMessage.objects.create(
        endpoint=partner, raw=raw, answer=b"MSA|AA", status=status, purpose="test", type="ORU^R01", key="A1",
        control_id=new_control_id(), stored_on=stored_on,
        created_at=datetime.combine(stored_on, datetime.min.time(), UTC),
    )  # fmt: skip


def as_left(message: InboundMessage | OutboundMessage) -> bytes:
    message.refresh_from_db()
    return message.raw


def test_bytes_of_a_month_go_together_when_its_last_day_is_old_enough(
    partner: Endpoint, as_application: None
) -> None:
    kept = retention.limits(timezone.now())
    assert timezone.now().date() - kept.bytes_from >= timedelta(days=90)
    day_before, day_after = kept.bytes_from - timedelta(days=1), kept.bytes_from
    old = [came(day_before), went(partner, day_before), went(partner, day_before, "discarded")]
    young = [came(day_after), went(partner, day_after), came(today())]
    # They arrived while their month had no partition of its own.
    assert MessageBody.objects.count() == 12
    would = retention.apply(kept, dry_run=True)
    assert would.months == []
    retention.make_partitions()
    would = retention.apply(kept, dry_run=True)
    assert all(as_left(message) for message in [*old, *young])
    done = retention.apply(kept)
    assert done.months == would.months == [day_before.replace(day=1)]
    assert [as_left(message) for message in old] == [b""] * 3
    assert all(as_left(message) for message in young)
    assert all(message.bytes_removed_at for message in old)
    assert not any(message.bytes_removed_at for message in young)
    assert AuditEvent.objects.get(action="message.bytes_removed").details == {"month": f"{day_before:%Y-%m}"}
    assert retention.apply(kept).months == []


def test_bytes_of_what_waits_for_somebody_move_on_with_the_time(
    partner: Endpoint, as_application: None
) -> None:
    kept = retention.limits(timezone.now())
    day = kept.bytes_from - timedelta(days=1)
    waiting = [came(day, status) for status in ("received", "rejected", "failed")]
    waiting += [went(partner, day, status) for status in ("queued", "sent", "rejected", "held")]  # type: ignore[misc]
    waiting.append(went(partner, day, "queued", b"MSH|pdf^" + PDF))  # type: ignore[arg-type]
    in_a_case, closed = came(day), came(day)
    open_case(NewCase(CaseKind.UNKNOWN_ORDER, "order:1", "An order is not known."), inbound=in_a_case)
    done = retention.apply(kept)
    assert done.moved_on == len(waiting) + 1
    assert all(as_left(message) for message in [*waiting, in_a_case])
    assert {message.stored_on for message in waiting} == {today()}
    assert waiting[-1].raw == b"MSH|pdf^" + PDF
    assert as_left(closed) == b""


def test_the_database_keeps_young_and_open_bytes_whoever_asks(as_application: None) -> None:
    day = retention.limits(timezone.now()).bytes_from - timedelta(days=1)
    came(day, "failed")
    retention.make_partitions()
    for month, why in ((day.replace(day=1), "open messages"), (today().replace(day=1), "not old enough")):
        with pytest.raises(InternalError, match=why), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT interfaces_drop_bodies(%s)", [month])
    with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP TABLE interfaces_messagebody")


@pytest.mark.parametrize(("days", "goes"), [(366 * 6 - 1, False), (366 * 6 + 1, True)])
def test_rows_go_after_six_years_unless_they_wait_for_somebody(
    partner: Endpoint, as_application: None, days: int, goes: bool
) -> None:
    day = today() - timedelta(days=days)
    settled = [came(day), went(partner, day), went(partner, day, "discarded")]
    waiting = [came(day, "failed"), went(partner, day, "held")]
    told_of = came(day)
    open_case(NewCase(CaseKind.UNKNOWN_ORDER, "order:1", "An order is not known."), inbound=told_of)
    noon = datetime.combine(today(), datetime.min.time(), UTC)
    done = retention.apply(retention.limits(noon))
    assert done.messages == (3 if goes else 0)
    left = {*InboundMessage.objects.all(), *OutboundMessage.objects.all()}
    assert left == {*waiting, told_of} | (set() if goes else set(settled))


@pytest.mark.parametrize("make", [came, lambda day: None])
def test_rows_younger_than_six_years_are_never_deleted(make: Callable[..., Any], partner: Endpoint) -> None:
    message = make(today() - timedelta(days=2000)) or went(partner, today() - timedelta(days=2000))
    with pytest.raises(InternalError), transaction.atomic():
        message.delete()


def test_a_message_whose_bytes_are_gone_is_not_sent_again(partner: Endpoint, as_application: None) -> None:
    kept = retention.limits(timezone.now())
    message = went(partner, kept.bytes_from - timedelta(days=1))
    retention.apply(kept)
    with pytest.raises(IllegalTransition, match="Its bytes were removed on"):
        resend(message, by=person("ada"))
    # Somebody asked for it just before its bytes went.
    OutboundMessage.objects.filter(pk=message.pk).update(status="queued")
    message.refresh_from_db()
    assert not engine.may_send(message, partner)
    message.refresh_from_db()
    assert (message.status, message.error_class) == ("held", "operator")


def test_a_large_component_is_stored_once_and_sent_byte_for_byte(partner: Endpoint) -> None:
    raws = [
        b"MSH|%d\rOBX|1|ED|||^application^pdf^Base64^%s|||F\rZZZ|" % (n, PDF) + b"x" * LARGE for n in range(3)
    ]
    messages = [went(partner, today(), raw=raw) for raw in raws]
    assert Attachment.objects.count() == 2
    assert sum(len(bytes(body.content)) for body in MessageBody.objects.filter(part="out")) < 300
    assert [OutboundMessage.objects.get(pk=message.pk).raw for message in messages] == raws
    arrived, _ = engine.store(engine.Arrival(raws[0], None, "10.1.1.1", "E|H", "1", "ORU^R01"))
    assert InboundMessage.objects.get(pk=arrived.pk).raw == raws[0]
    assert Attachment.objects.count() == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"|",
        PDF,
        PDF + PDF,
        b"|" + PDF,
        PDF[1:],
        PDF + b"^" + PDF + b"|",
        b"\x00\xff" * LARGE,
        b"^" * LARGE,
    ],
)
def test_taking_out_loses_nothing(raw: bytes) -> None:
    from interfaces.models_bodies import put_back

    content, cuts, found = take_out(raw)
    assert put_back(content, cuts, found) == raw
    assert all(len(one) >= LARGE for one in found.values())


def test_attachments_go_with_the_last_message_that_carries_them(partner: Endpoint) -> None:
    kept = retention.limits(timezone.now())
    went(partner, kept.bytes_from - timedelta(days=1), raw=PDF)
    shared = PDF + b"shared"
    went(partner, kept.bytes_from - timedelta(days=1), raw=shared)
    young = went(partner, kept.bytes_from, raw=shared)
    assert retention.apply(kept).attachments == 1
    assert as_left(young) == shared


def test_the_command_says_what_it_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    message = came(today() - timedelta(days=300))
    retention.make_partitions()
    call_command("retention", "--dry-run")
    assert f"would be removed: {message.stored_on:%Y-%m}\n" in capsys.readouterr().out
    assert as_left(message)
    call_command("retention", "--months", "12")
    assert as_left(message)
    call_command("retention")
    assert as_left(message) == b""
    with pytest.raises(CommandError, match="At least 2 months"):
        call_command("retention", "--months", "1")
