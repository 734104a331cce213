"""Names of persons: components as HL7 XPN and DICOM PN know them, shown as the department reads them."""

import unicodedata
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PersonName:
    """`ideographic` and `phonetic` hold a whole component group each, written as in DICOM PN ("山田^太郎")."""

    family: str = ""
    given: str = ""
    middle: str = ""
    prefix: str = ""
    suffix: str = ""
    ideographic: str = ""
    phonetic: str = ""

    @property
    def display(self) -> str:
        """OKAFOR, Adaeze (Mrs): family first in capitals, the title in brackets (ux.md 3.6)."""
        given = " ".join(part for part in (self.given, self.middle) if part)
        shown = ", ".join(part for part in (self.family.upper(), given) if part)
        if self.suffix:
            shown = f"{shown} {self.suffix}"
        return f"{shown} ({self.prefix})" if self.prefix else shown

    def stripped(self) -> "PersonName":
        return replace(
            self, **{field: " ".join(getattr(self, field).split()) for field in self.__annotations__}
        )


def fold(text: str) -> str:
    """For comparing and searching: capitals without accents, one space between words."""
    flat = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    kept = "".join(ch if ch.isalnum() else " " for ch in flat if not unicodedata.combining(ch))
    return " ".join(kept.upper().split())


# Letters that NFKD leaves whole.
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ß": "ss",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "þ": "th",
        "Þ": "TH",
        "ı": "i",
        "'": None,
        "’": None,
    }
)
