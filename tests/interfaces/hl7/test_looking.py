"""How a message is shown, compared and changed by people."""

import pytest

from interfaces.hl7 import comparing, editing, masking
from ris.core.errors import BadValue

GOOD = (
    b"MSH|^~\\&|EPIC|HARBOUR|||20261119||ADT^A08|C1|P|2.3.1\rEVN|A08|20261119\r"
    b"PID|||77^^^HARBOUR^MR||OKAFOR^ADAEZE||19680714|F|||1 MAIN ST^^SALEM||5550001\r"
    b"NK1|1|OKAFOR^OBI|SPO|1 MAIN ST|5550002\rPV1||O|CLINIC^3||||2013^WHITLOW||||||||||||V1^^^HARBOUR\r"
    b"OBX|1|TX|59776-5||The patient's name is Adaeze\rZPI|OKAFOR\r"
)


def test_a_patient_is_masked_and_the_shape_and_the_codes_stay() -> None:
    shown = "\n".join(f"{line.name}{line.rest}" for line in masking.lines(GOOD, show=False))
    for secret in ("OKAFOR", "ADAEZE", "19680714", "MAIN", "5550001", "5550002", "Adaeze", "|77^", "|V1^"):
        assert secret not in shown
    for plain in ("^^^HARBOUR^MR", "|F|", "CLINIC^3", "2013^WHITLOW", "59776-5", "|SPO|"):
        assert plain in shown
    tree = repr(masking.tree(GOOD, show=False))
    assert "OKAFOR" not in tree
    assert "CLINIC" in tree
    assert "OKAFOR" in repr(masking.tree(GOOD, show=True))


def test_what_is_no_message_is_masked_as_a_whole() -> None:
    broken = b"MSH|^~\\&|EPIC|HARBOUR|||20261119||ADT^A08|C1|P|2.3.1\rPID|||77||OKAFOR\rADAEZE, see note\rpid|1|x|77\r"
    shown = "".join(f"{line.name}{line.rest}" for line in masking.lines(broken, show=False))
    assert "OKAFOR" not in shown
    assert "ADAEZE" not in shown
    assert "77" not in shown
    assert "PID" in shown
    assert not masking.is_private("PV1-3.1")
    assert masking.is_private("PID-3")
    assert not masking.is_private("PID-3.4")


def test_a_difference_in_shape_comes_before_one_in_value() -> None:
    other = (
        GOOD.replace(b"PV1||O|CLINIC^3", b"PV1||O|4EAST")
        .replace(b"19680714|F", b"19700101|")
        .replace(b"C1", b"C2")
    )
    found = comparing.differences(GOOD, other, show=False)
    assert [(one.location, one.shape) for one in found] == [
        ("PID-8", True),
        ("PV1-3", True),
        ("PID-7", False),
    ]
    assert (found[1].before, found[1].now) == ("CLINIC^3", "4EAST")
    assert "1970" not in repr(found)
    assert "1970" in repr(comparing.differences(GOOD, other, show=True))
    gone = comparing.differences(GOOD, GOOD[: GOOD.index(b"ZPI")], show=False)
    assert [(one.location, one.now) for one in gone] == [("ZPI", "")]


def test_a_copy_is_written_in_the_set_its_own_header_names() -> None:
    latin = GOOD.replace(b"|2.3.1\r", b"|2.3.1||||||8859/1\r")
    text = editing.text_of(latin).replace("ADAEZE", "ZOË")
    raw = editing.raw_of(text)
    assert "ZOË".encode("latin-1") in raw
    assert raw.endswith(b"ZPI|OKAFOR\r")
    with pytest.raises(BadValue, match="8859/1 lacks a letter"):
        editing.raw_of(text.replace("ZOË", "Łukasz"))
    assert b"|C9|P|" in editing.with_values(latin, {("MSH", 10): "C9"})
    assert editing.with_values(GOOD, {("PID", 40): "x"}).count(b"|") == GOOD.count(b"|") + 27
    assert [one.now[:9] for one in editing.changes(editing.text_of(latin), text)] == ["PID|||77^"]
