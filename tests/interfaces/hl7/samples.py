"""Messages as an EMR sends them: valid by default, one keyword a difference."""

from itertools import count
from pathlib import Path

_ids = count(1)
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def msh(kind: str, *, control_id: str | None = None, version: str = "2.3.1", **fields: str) -> str:
    number = f"T{next(_ids):06d}" if control_id is None else control_id
    processing = fields.get("processing", "P")
    tail = f"|||{fields.get('accept', '')}|{fields.get('application', '')}||{fields.get('charset', '')}"
    app, facility = fields.get("app", "EMR"), fields.get("facility", "HOSP")
    return (
        f"MSH|^~\\&|{app}|{facility}|LIGHTBOX|HARBOUR|20260301120000||{kind}|{number}|{processing}|{version}{tail}"
    ).rstrip("|")


def pid(
    mrn: str = "004417268",
    name: str = "OKAFOR^ADAEZE^^^MRS",
    born: str = "19680714",
    sex: str = "F",
    rest: str = "",
) -> str:
    return f"PID|||{mrn}^^^HOSP^MR||{name}||{born}|{sex}|{rest}".rstrip("|")


def adt(event: str = "A04", *, person: str | None = None, pv1: str | None = None, **header: str) -> str:
    visit = "PV1||O|RAD^CT1||||1234^WEAVER^TIMOTHY^P^^DR|5101^NELL^FREDERICK^P^^DR|||||||||||V131-1^^^HOSP"
    return "\r".join(
        [msh(f"ADT^{event}", **header), f"EVN|{event}|20260301115900", person or pid(), pv1 or visit, ""]
    )


def orm(
    control: str = "NW", number: str = "A1^EMR", *, code: str = "CTHEAD^CT head^L", person: str | None = None,
    filler: str = "", timing: str = "1^once^^20260302090000^^S", obr: str = "", **header: str,
) -> str:  # fmt: skip
    return "\r".join(
        [
            msh(header.pop("kind", "ORM^O01"), **header),
            person or pid(rest="||1 MAIN ST^^SALEM^MA^01970||5550001111|||||ACC-9"),
            "PV1||O|RAD^CT1||||1234^WEAVER^TIMOTHY^P^^DR|5101^NELL^FREDERICK^P^^DR|||||||||||V131-1^^^HOSP",
            group(control, number, code=code, filler=filler, timing=timing, obr=obr),
            "",
        ]
    )


def group(
    control: str = "NW", number: str = "A1^EMR", *, code: str = "CTHEAD^CT head^L", filler: str = "",
    timing: str = "1^once^^20260302090000^^S", obr: str = "",
) -> str:  # fmt: skip
    ordering = "7101^ESTRADA^JAIME^P^^DR"
    return "\r".join(
        [
            f"ORC|{control}|{number}|{filler}|G7|||{timing}||20260301115500|^ROSEWOOD^RANDOLPH||{ordering}||(314)555-1212"
            "|||922229-10^IHE-RAD^IHE-CODE-231",
            obr
            or f"OBR|1|{number}|{filler}|{code}||||||||MRSA|headache since May||Radiology^^^^R^|{ordering}|||||||||||"
            f"{timing}|||WALK|Headache",
        ]
    )
