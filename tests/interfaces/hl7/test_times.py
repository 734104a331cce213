from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from interfaces.hl7 import times
from ris.core.errors import BadValue

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("sent", "moment", "precision"),
    [
        ("2026", "2026-01-01T05:00", times.Precision.YEAR),
        ("202603", "2026-03-01T05:00", times.Precision.MONTH),
        ("20260301", "2026-03-01T05:00", times.Precision.DAY),
        ("2026030112", "2026-03-01T17:00", times.Precision.HOUR),
        ("202603011230", "2026-03-01T17:30", times.Precision.MINUTE),
        ("20260301123045", "2026-03-01T17:30:45", times.Precision.SECOND),
        ("20260301123045.1234", "2026-03-01T17:30:45.123400", times.Precision.SECOND),
        ("202603011230+0215", "2026-03-01T10:15", times.Precision.MINUTE),
        ("20260301123045-0800", "2026-03-01T20:30:45", times.Precision.SECOND),
        ("20260301123060", "2026-03-01T17:30:59", times.Precision.SECOND),
        # 02:30 does not exist on the night the clocks go forward.
        ("202603080230", "2026-03-08T07:30", times.Precision.MINUTE),
    ],
)
def test_every_precision_is_read(sent: str, moment: str, precision: times.Precision) -> None:
    """MLLP-21."""
    stamp = times.parse(sent, NEW_YORK, location="ORC-9")
    assert stamp is not None
    assert stamp.moment.astimezone(UTC) == datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert stamp.precision == precision


@pytest.mark.parametrize(
    "sent",
    ["20260431", "20260230", "00000000", "20261301", "2026030125", "202603011260", "20260301123061", "2026-03-01",
     "tomorrow", "20260301+9999", "99991231235959-1200", "202", "２０２６"],
)  # fmt: skip
def test_a_date_no_calendar_has_is_refused_with_its_place(sent: str) -> None:
    with pytest.raises(BadValue) as refusal:
        times.parse(sent, NEW_YORK, location="PID-7")
    assert refusal.value.location == "PID-7"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("19680714", "1968-07-14"),
        ("196807", "1968-07"),
        ("19680700", "1968-07"),
        ("1968", "1968"),
        ("19680000", "1968"),
        ("198808181126+0215", "1988-08-18"),
        ("19880818235900-1100", "1988-08-18"),
        ("", ""),
    ],
)
def test_what_is_unknown_of_a_birth_date_stays_unknown(sent: str, kept: str) -> None:
    assert times.birth_date(sent, NEW_YORK, location="PID-7") == kept


def test_from_2_5_on_times_carry_their_offset() -> None:
    """MLLP-21."""
    at = datetime(2026, 7, 1, 16, 0, tzinfo=UTC)
    assert times.write(at, NEW_YORK, offset=True) == "20260701120000-0400"
    assert times.write(at, NEW_YORK, offset=False) == "20260701120000"
