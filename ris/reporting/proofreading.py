"""What is looked at before signing: side, sex, impression, open fields. It shows words and never pops up.

The same checks run in the browser as one types (report.js), from the same patterns; so these keep to what
both dialects of regular expressions read alike.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ris.orders.models import Side
from ris.reporting.sections import FINDINGS, IMPRESSION, OPEN_FIELD, Section

_OTHER_SIDE = {Side.LEFT: "right", Side.RIGHT: "left"}
#: Words of organs that a patient of that sex does not have.
_NOT_OF = {
    "M": "uterus|uterine|ovary|ovaries|ovarian|adnexa|adnexal|endometrium|endometrial|vagina|vaginal|placenta|fetus",
    "F": "prostate|prostatic|seminal|testis|testes|testicle|testicles|testicular|scrotum|scrotal|penis|penile",
}
_READ = (FINDINGS[0], IMPRESSION[0])


@dataclass(frozen=True)
class Check:
    """One look at the text: `pattern` must not stand in it, or must when it is `wanted`."""

    name: str
    good: str
    #: {word} is the first one found, {n} their number, {s} the plural's ending.
    bad: str = ""
    #: wait: look again; stop: signing is refused.
    tone: str = "wait"
    pattern: str = ""
    wanted: bool = False
    #: Codes of the sections looked at; empty for all.
    where: tuple[str, ...] = ()

    def look(self, sections: Sequence[Section]) -> "Seen":
        read = "\n".join(one["text"] for one in sections if not self.where or one["code"] in self.where)
        found = re.findall(self.pattern, read, re.IGNORECASE) if self.pattern else []
        if not self.pattern or bool(found) == self.wanted:
            return Seen(self, "ok", self.good)
        n = len(found)
        words = self.bad.format(word=found[0].lower() if found else "", n=n, s="" if n == 1 else "s")
        return Seen(self, self.tone, words)


@dataclass(frozen=True)
class Seen:
    check: Check
    tone: str
    words: str


def checks(sides: Iterable[str], sex: str) -> list[Check]:
    """The checks of a report on exams of `sides` and a patient of `sex`, in the order of the bar."""
    (side,) = set(sides) if len(set(sides)) == 1 else ("",)
    other = _OTHER_SIDE.get(Side(side), "")
    side_word = Side(side).label.lower() if other else ""
    return [
        Check(
            "Side",
            f"Side {side_word}" if other else "Side",
            f"Says {{word}}, exam is {side_word}",
            pattern=rf"\b{other}\b" if other else "",
            where=_READ,
        ),
        Check(
            "Sex",
            "Sex",
            f"Says {{word}}, patient is {'male' if sex == 'M' else 'female'}",
            pattern=rf"\b(?:{_NOT_OF[sex]})\b" if sex in _NOT_OF else "",
            where=_READ,
        ),
        Check(
            "Impression",
            "Impression",
            "No impression",
            "stop",
            pattern=r"\S",
            wanted=True,
            where=(IMPRESSION[0],),
        ),
        Check("Fields", "No open field", "{n} open field{s}", "stop", pattern=OPEN_FIELD.pattern),
    ]
