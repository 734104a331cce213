"""A data set for the eyes of whoever looks after the line: its shape and codes, but no patient, until it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from interfaces.dicom.scu import opened

MASK = "•••"
_MOST_LINES = 2000
_LONGEST = 300
#: Values of these tell who somebody is, or are prose that may.
_PRIVATE_VRS = {"PN", "UT", "LT", "ST"}
_PRIVATE_TAGS = {0x00081030, 0x0008103E, 0x00401002, 0x00321060, 0x00400254, 0x00400280}
_PATIENT_GROUP, _PATIENT_SEX = 0x0010, 0x00100040
_BINARY = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    rest: str


def lines(raw: bytes, *, show: bool) -> list[Line]:
    """One line an attribute, items indented."""
    try:
        ds = opened(raw)
        found = [*_dump(ds.file_meta, 0, show=show), *_dump(ds, 0, show=show)]
    except (InvalidDicomError, ValueError, EOFError, AttributeError):
        return [Line("", f"{len(raw)} bytes that are no data set")]
    more = len(found) - _MOST_LINES
    return found if more <= 0 else [*found[:_MOST_LINES], Line("", f"… {more:,} more attributes")]


def _dump(ds: Dataset, depth: int, *, show: bool) -> Iterator[Line]:
    for element in ds:
        name = f"{'> ' * depth}({element.tag.group:04X},{element.tag.element:04X})"
        if element.VR == "SQ":
            yield Line(
                name,
                f" {element.VR} {element.name}: {len(element.value)} item{'s'[: len(element.value) != 1]}",
            )
            for item in element.value:
                yield from _dump(item, depth + 1, show=show)
        else:
            yield Line(name, f" {element.VR} {element.name}: {_value(element, show=show)}")


def _value(element: DataElement, *, show: bool) -> str:
    if element.VR in _BINARY:
        return f"{len(element.value or b''):,} bytes"
    if element.value in (None, ""):
        return "empty"
    if not show and _is_private(element):
        return MASK
    text = str(element.value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … {len(text) - _LONGEST:,} more characters"


def _is_private(element: DataElement) -> bool:
    tag = int(element.tag)
    if element.tag.group == _PATIENT_GROUP:
        return tag != _PATIENT_SEX
    return element.VR in _PRIVATE_VRS or tag in _PRIVATE_TAGS
