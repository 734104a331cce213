"""In what a message differs from the last one of its kind that went well."""

from dataclasses import dataclass
from itertools import zip_longest

from interfaces.hl7 import er7, names
from interfaces.hl7.er7 import Segment
from interfaces.hl7.masking import masked

#: Different in every message, and so no news: time, number, sequence.
_ALWAYS_NEW = {("MSH", 7), ("MSH", 10), ("MSH", 13), ("EVN", 2), ("EVN", 6)}
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: what stands in the good message (`before`), and in this one (`now`)."""

    location: str
    name: str
    before: str
    now: str
    #: A field or segment more or less, or another number of components, rather than another value.
    shape: bool


def differences(good: bytes, this: bytes, *, show: bool, default: str = "UNICODE UTF-8") -> list[Difference]:
    """What differs, shape before value. Raises RisError when one of them cannot be read."""
    before, now = er7.read(good, default), er7.read(this, default)
    version = now.get("MSH-12") or "2.5.1"
    found: list[Difference] = []
    kinds = dict.fromkeys(one.name for one in [*before.segments, *now.segments])
    for kind in kinds:
        for number, (old, new) in enumerate(zip_longest(before.all(kind), now.all(kind)), 1):
            where = kind if number == 1 else f"{kind}[{number}]"
            if old is None or new is None:
                line = "the whole segment"
                found.append(
                    Difference(where, "", "" if old is None else line, "" if new is None else line, True)
                )
                continue
            found.extend(_fields(where, old, new, version, show=show))
    return sorted(found, key=lambda one: not one.shape)


def _fields(where: str, old: Segment, new: Segment, version: str, *, show: bool) -> list[Difference]:
    found = []
    for field in range(1, max(len(old), len(new)) + 1):
        was, is_ = old.raw(field), new.raw(field)
        if was == is_ or (new.name, field) in _ALWAYS_NEW:
            continue
        found.append(
            Difference(
                f"{where}-{field}", names.field_name(new.name, field, version), _shown(was, old, field, show=show),
                _shown(is_, new, field, show=show), _shape(was, old) != _shape(is_, new),
            )
        )  # fmt: skip
    return found


def _shown(value: str, segment: Segment, field: int, *, show: bool) -> str:
    text = value if show else masked(value, segment.name, field, segment.separators)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _shape(value: str, segment: Segment) -> tuple[int, tuple[bool, ...]]:
    """How often the field repeats, and which components of the first repetition are filled."""
    marks = segment.separators
    repetitions = value.split(marks.repetition) if marks.repetition else [value]
    return len(repetitions), tuple(
        bool(part) for part in repetitions[0].rstrip(marks.component).split(marks.component)
    )
