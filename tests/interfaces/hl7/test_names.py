"""The parsed view of a message: names by the tables of its version."""

import pytest

from interfaces.hl7 import names
from tests.interfaces.hl7.samples import orm


@pytest.mark.parametrize(
    ("segment", "field", "version", "name"),
    [
        ("PID", 7, "2.5.1", "Date time of birth"),
        ("OBR", 25, "2.3.1", "Result status"),
        ("ORC", 1, "2.8", "Order control"),
        ("ORC", 1, "9.9", "Order control"),
        ("ZDS", 1, "2.3.1", "Study Instance UID"),
        ("ZZZ", 1, "2.3.1", ""),
        ("PID", 999, "2.5.1", ""),
    ],
)
def test_a_field_has_the_name_of_its_version(segment: str, field: int, version: str, name: str) -> None:
    assert names.field_name(segment, field, version) == name


def test_a_message_is_shown_with_names_and_parts() -> None:
    rows = names.parsed(orm().encode())
    assert [row.name for row in rows] == ["MSH", "PID", "PV1", "ORC", "OBR"]
    number = next(field for field in rows[1].fields if field.location == "PID-3")
    assert (number.name, number.raw) == ("Patient identifier list", "004417268^^^HOSP^MR")
    assert ("PID-3.4", "Assigning authority", "HOSP") in number.parts


def test_a_long_value_is_cut_for_the_screen() -> None:
    raw = orm().encode() + b"OBX|1|ED|x||a^b^pdf^Base64^" + b"A" * 2_000_000 + b"\r"
    value = next(field for field in names.parsed(raw)[-1].fields if field.location == "OBX-5")
    assert len(value.raw) == names.SHOWN
    assert all(len(text) <= names.SHOWN for _, _, text in value.parts)
