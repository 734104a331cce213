"""Labels as scanners send them and people type them (GS1 General Specifications)."""

from datetime import date

import pytest

from ris.core.errors import BadValue
from ris.supplies.barcodes import GS, Scan, has_check_digit, read

GTIN = "09501101530003"
VIAL = Scan(gtin=GTIN, lot="4471", expires_on=date(2027, 3, 31))
SERIAL = Scan(gtin=GTIN, lot="4471", expires_on=date(2027, 3, 31), serial="A-7/2")


@pytest.mark.parametrize(
    ("scanned", "expected"),
    [
        (f"01{GTIN}17270331104471", VIAL),
        (f"]d201{GTIN}17270331104471", VIAL),
        (f"]C101{GTIN}17270331104471\r\n", VIAL),
        (f"{GS}01{GTIN}17270331104471", VIAL),
        (f"01{GTIN}104471{GS}17270331", VIAL),
        (f"01{GTIN}104471{GS}1727033121A-7/2", SERIAL),
        (f"01{GTIN}21A-7/2{GS}104471{GS}17270331", SERIAL),
        (f"]d201{GTIN}104471<GS>17270331", VIAL),
        (f"01{GTIN}104471{{GS}}17270331{{GS}}", VIAL),
        (f"01{GTIN}3102001250104471{GS}7003270331 ", VIAL),
        (f"01{GTIN}3102001250104471{GS}70032703311200", VIAL),
        (f"01{GTIN}71212345{GS}104471{GS}17270331", VIAL),
        (f"(01){GTIN}(17)270331(10)4471", VIAL),
        (f"(10)4471(17)270331(01){GTIN}(21)A-7/2", SERIAL),
        (f"(01){GTIN}(17)270300(10)4471", VIAL),
        (f"01{GTIN}", Scan(gtin=GTIN)),
        (GTIN, Scan(gtin=GTIN)),
        ("9501101530003", Scan(gtin=GTIN)),
        ("]E09501101530003", Scan(gtin=GTIN)),
        ("96385074", Scan(gtin="00000096385074")),
        ("036000291452", Scan(gtin="00036000291452")),
        ("4471", Scan(text="4471")),
        (" LOT-A17 ", Scan(text="LOT-A17")),
        (f"(01){GTIN}(17)280200(10)X", Scan(gtin=GTIN, lot="X", expires_on=date(2028, 2, 29))),
        (f"(01){GTIN}(17)991231(10)X", Scan(gtin=GTIN, lot="X", expires_on=date(1999, 12, 31))),
    ],
)
def test_a_label_says_item_lot_expiry_and_serial(scanned: str, expected: Scan) -> None:
    """T07, T11."""
    assert read(scanned) == expected


@pytest.mark.parametrize(
    ("scanned", "why"),
    [
        ("", "Scan the label"),
        ("   ", "Scan the label"),
        ("09501101530004", "wrong digit"),
        ("01095011015300041727033110X", "wrong digit"),
        (f"01{GTIN}1727", "breaks off"),
        (f"01{GTIN}17271331", "no date"),
        (f"01{GTIN}17270230104471", "no date"),
        (f"01{GTIN}10{'X' * 21}", "lost a separator"),
        (f"01{GTIN}10{GS}17270331", "lost a separator"),
        (f"01{GTIN}05123", "no supply label"),
        (f"(01){GTIN}(05)1", "no supply label"),
        ("(01)0950110153000(10)X", "13 characters"),
        ("(10)4471(17)270331", "which item"),
        (f"(01){GTIN}(10)A(10)B", "twice"),
        (f"01{GTIN}10ÄÖ", "character that cannot be"),
        ("https://example.org/somewhere/that/is/no/label", "no label of a supply"),
    ],
)
def test_a_label_that_cannot_be_is_refused_in_words(scanned: str, why: str) -> None:
    with pytest.raises(BadValue, match=why):
        read(scanned)


def test_no_label_brings_the_reader_down() -> None:
    """Every beginning and every single damage of a good label is read or refused, never anything else."""
    label = f"]d201{GTIN}104471{GS}1727033121A-7/2"
    damaged = [label[:end] for end in range(len(label))]
    damaged += [label[:at] + sign + label[at + 1 :] for at in range(len(label)) for sign in "9(Z\x00٣"]
    for one in damaged:
        try:
            found = read(one)
        except BadValue:
            continue
        assert found.gtin == "" or has_check_digit(found.gtin)
