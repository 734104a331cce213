"""The bytes of messages, apart from the rows that tell about them: a month of bytes can be dropped at once.

`interfaces_messagebody` is partitioned by month of `stored_on`; large components (a PDF in OBX-5) lie once in
`Attachment`, however many messages carry them, and are put back byte for byte.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any, ClassVar

import pgtrigger
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import connection, models, transaction
from django.db.models.functions import Now, Upper
from psycopg2.extras import execute_values

#: A component of this many bytes lies in a table of its own.
LARGE = 32 * 1024


class Part(models.TextChoices):
    IN = "in", "What came"
    IN_ANSWER = "in_answer", "What we answered"
    OUT = "out", "What we sent"
    OUT_ANSWER = "out_answer", "What was answered"


class MessageBody(models.Model):
    """Bytes of a message. Without a foreign key: the month goes before the row that tells about it."""

    #: What a running service may call although only the owner may change tables.
    may_call = ("interfaces_make_partitions(int)", "interfaces_drop_bodies(date)")

    pk = models.CompositePrimaryKey("message_id", "part", "stored_on")
    message_id = models.BigIntegerField()
    part = models.CharField(max_length=10, choices=Part)
    stored_on = models.DateField()
    content = models.BinaryField()
    #: Where attachments were taken out: [[offset in `content`, digest], ...], rising.
    cuts = models.JSONField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(part__in=Part.values), name="part_known")]

    def __str__(self) -> str:
        return f"{self.part} {self.message_id}"


class Attachment(models.Model):
    """A large component, once, under the SHA-256 of its bytes."""

    digest = models.CharField(max_length=64, primary_key=True)
    content = models.BinaryField()
    #: The newest message that carries it; goes with the last of them.
    used_on = models.DateField()

    class Meta:
        indexes = [models.Index(fields=["used_on"], name="attachment_by_last_use")]

    def __str__(self) -> str:
        return self.digest


class Removal(models.Model):
    """A month whose bytes were dropped, and when."""

    append_only = True

    month = models.DateField(primary_key=True)
    removed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


#: How long what was sent, when and with what answer is kept at least (45 CFR 164.316(b)(2)).
YEARS = 6


def kept_for_years(moment: str, still_open: Iterable[str]) -> pgtrigger.Trigger:
    """Rows go only after so many years, and never while they wait for somebody."""
    states = ", ".join(f"'{state}'" for state in still_open)
    return pgtrigger.Protect(
        name=f"rows_kept_for_{YEARS}_years",
        operation=pgtrigger.Delete,
        condition=pgtrigger.Condition(
            f"OLD.{moment} > now() - interval '{YEARS} years' OR OLD.status IN ({states})"
        ),
    )


def found_by_error(name: str) -> models.Index:
    """For "which messages failed with these words?"; a query must ask for a text that is not empty."""
    return GinIndex(
        OpClass(Upper("error_text"), name="gin_trgm_ops"), name=name, condition=~models.Q(error_text="")
    )


def today() -> date:
    """The day in UTC, by which bytes are filed."""
    return datetime.now(UTC).date()


_SEPARATORS = b"|^~&\r\n"
_IS_TEXT = bytes(byte not in _SEPARATORS for byte in range(256))
_RUN = b"\x01" * LARGE


def take_out(raw: bytes) -> tuple[bytes, list[tuple[int, str]], dict[str, bytes]]:
    """Bytes without their large components, where those were, and what they are by digest."""
    kept: list[bytes] = []
    cuts: list[tuple[int, str]] = []
    found: dict[str, bytes] = {}
    at = size = 0
    for start, end in _large_components(raw):
        kept.append(raw[at:start])
        size += start - at
        digest = hashlib.sha256(raw[start:end]).hexdigest()
        found[digest] = raw[start:end]
        cuts.append((size, digest))
        at = end
    return (b"".join((*kept, raw[at:])) if cuts else raw), cuts, found


def _large_components(raw: bytes) -> Iterator[tuple[int, int]]:
    if len(raw) < LARGE:
        return
    # `find` is linear where a regular expression would look at every start again.
    marks = raw.translate(_IS_TEXT)
    start = marks.find(_RUN)
    while start >= 0:
        end = marks.find(b"\x00", start)
        end = len(raw) if end < 0 else end
        yield start, end
        start = marks.find(_RUN, end)


def put_back(content: bytes, cuts: list[tuple[int, str]], found: dict[str, bytes]) -> bytes:
    """The bytes that `take_out` was given."""
    pieces: list[bytes] = []
    at = 0
    for offset, digest in cuts:
        pieces += (content[at:offset], found[digest])
        at = offset
    return b"".join((*pieces, content[at:]))


def keep_attachments(found: dict[str, bytes], stored_on: date) -> None:
    """Store what is not stored yet; what is, is in use up to this day."""
    if not found:
        return
    with connection.cursor() as cursor:
        execute_values(
            cursor,
            "INSERT INTO interfaces_attachment (digest, content, used_on) VALUES %s ON CONFLICT (digest)"
            " DO UPDATE SET used_on = greatest(interfaces_attachment.used_on, excluded.used_on)",
            [(digest, found[digest], stored_on) for digest in sorted(found)],
        )


_KEEP = """
INSERT INTO interfaces_messagebody (message_id, part, stored_on, content, cuts) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (message_id, part, stored_on) DO UPDATE SET content = excluded.content, cuts = excluded.cuts
"""


def keep_body(message_id: int, part: Part, stored_on: date, raw: bytes) -> None:
    """Store the bytes, or for an answer the newest ones."""
    content, cuts, found = take_out(raw)
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        keep_attachments(found, stored_on)
        cursor.execute(_KEEP, [message_id, part, stored_on, content, json.dumps(cuts) if cuts else None])


_READ = """
SELECT b.part, b.content, b.cuts,
       (SELECT array_agg(a.content ORDER BY c.ord) FROM jsonb_array_elements(b.cuts) WITH ORDINALITY c(cut, ord)
        JOIN interfaces_attachment a ON a.digest = c.cut->>1)
FROM interfaces_messagebody b WHERE b.message_id = %s AND b.stored_on = %s AND b.part = ANY(%s)
"""


class Message(models.Model):
    """What both directions share: `raw` and the answer are read when asked for, and are b"" once removed."""

    #: The parts that are the message's bytes and its answer's.
    parts: ClassVar[tuple[Part, Part]]

    #: The month its bytes lie in. An open message's move on with the time.
    stored_on = models.DateField(default=today)

    class Meta:
        abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._bytes: dict[str, bytes] = {}
        self._unwritten: set[str] = set()
        super().__init__(*args, **kwargs)

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic(savepoint=False):
            super().save(*args, **kwargs)
            for part in sorted(self._unwritten):
                if self._bytes[part]:
                    keep_body(self.pk, Part(part), self.stored_on, self._bytes[part])
            self._unwritten.clear()

    @property
    def raw(self) -> bytes:
        return self._read(self.parts[0])

    @raw.setter
    def raw(self, value: bytes) -> None:
        self._note(self.parts[0], value)

    def _read(self, part: Part) -> bytes:
        if part not in self._bytes and self.pk is not None:
            with connection.cursor() as cursor:
                cursor.execute(_READ, [self.pk, self.stored_on, list(self.parts)])
                for name, content, cuts, attachments in cursor.fetchall():
                    if name not in self._bytes:
                        self._bytes[name] = _joined(content, cuts, attachments)
        return self._bytes.setdefault(part, b"")

    def _note(self, part: Part, value: bytes | None) -> None:
        self._bytes[part] = bytes(value or b"")
        self._unwritten.add(part)

    def hold_bytes(self, part: Part, value: bytes) -> None:
        """Take as read what the caller has just stored."""
        self._bytes[part] = value

    @property
    def bytes_removed_at(self) -> datetime | None:
        """When the month of its bytes was dropped; None while they are there."""
        removal = Removal.objects.filter(month=self.stored_on.replace(day=1)).first()
        return removal.removed_at if removal else None

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        self._bytes.clear()
        self._unwritten.clear()
        super().refresh_from_db(*args, **kwargs)


def _joined(content: memoryview, cuts: str | None, attachments: list[memoryview] | None) -> bytes:
    if not cuts:
        return bytes(content)
    places = [(offset, digest) for offset, digest in json.loads(cuts)]
    found = {digest: bytes(one) for (_, digest), one in zip(places, attachments or [], strict=True)}
    return put_back(bytes(content), places, found)
