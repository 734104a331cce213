"""What is looked at before signing: side, sex, impression, open fields. It shows words and never pops up.

The patterns run here and in the browser (report.js), so they keep to what both dialects read alike.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ris.orders.models import Side
from ris.reporting.sections import FINDINGS, IMPRESSION, OPEN_FIELD, Section, open_fields, text_of

_OTHER_SIDE = {Side.LEFT: "right", Side.RIGHT: "left"}
#: Words of organs that a patient of the other sex does not have.
_NOT_OF = {
    "M": "uterus|uterine|ovary|ovaries|ovarian|adnexa|adnexal|endometrium|endometrial|vagina|vaginal|placenta|fetus",
    "F": "prostate|prostatic|seminal|testis|testes|testicle|testicles|testicular|scrotum|scrotal|penis|penile",
}


@dataclass(frozen=True)
class Check:
    """One look at the text. `pattern` is what must not be found in it; without one the check needs no words."""

    name: str
    tone: str  # ok, wait (look again), stop (blocks signing)
    words: str
    pattern: str = ""


def checks(sections: Sequence[Section], *, sides: Iterable[str], sex: str) -> list[Check]:
    """The checks of a text for exams of `sides` and a patient of `sex`, in the order of the bar."""
    read = "\n".join(text_of(sections, heading) for heading in (FINDINGS, IMPRESSION))
    return [_side(read, set(sides)), _sex(read, sex), _impression(sections), _open(sections)]


def _side(read: str, sides: set[str]) -> Check:
    (side,) = sides if len(sides) == 1 else ("",)
    other = _OTHER_SIDE.get(Side(side), "")
    if not other:
        return Check("Side", "ok", "Side")
    pattern = rf"\b{other}\b"
    if re.search(pattern, read, re.IGNORECASE):
        return Check("Side", "wait", f"Says {other}, exam is {Side(side).label.lower()}", pattern)
    return Check("Side", "ok", f"Side {Side(side).label.lower()}", pattern)


def _sex(read: str, sex: str) -> Check:
    if sex not in _NOT_OF:
        return Check("Sex", "ok", "Sex")
    pattern = rf"\b(?:{_NOT_OF[sex]})\b"
    found = re.search(pattern, read, re.IGNORECASE)
    if found:
        return Check(
            "Sex",
            "wait",
            f"Says {found[0].lower()}, patient is {'male' if sex == 'M' else 'female'}",
            pattern,
        )
    return Check("Sex", "ok", "Sex", pattern)


def _impression(sections: Sequence[Section]) -> Check:
    if text_of(sections, IMPRESSION).strip():
        return Check("Impression", "ok", "Impression")
    return Check("Impression", "stop", "No impression")


def _open(sections: Sequence[Section]) -> Check:
    count = len(open_fields(sections))
    if not count:
        return Check("Fields", "ok", "No open field", OPEN_FIELD.pattern)
    return Check("Fields", "stop", f"{count} open field{'s' if count > 1 else ''}", OPEN_FIELD.pattern)
