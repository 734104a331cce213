"""A data set in the DICOM JSON model (PS3.18 F): Unicode text, whatever character sets it came in."""

import base64
import math
import struct
from typing import Any

from interfaces.dicom.charsets import Decoder, terms
from interfaces.dicom.elements import SPECIFIC_CHARACTER_SET, DataSet

_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_ONE_VALUE = frozenset({"LT", "ST", "UT", "UR"})
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

JsonModel = dict[str, dict[str, Any]]


def decoder_of(data_set: DataSet, inherited: Decoder | None = None) -> Decoder:
    """The decoder its Specific Character Set asks for; an item without one has that of its data set.

    Raises UnknownCharacterSet.
    """
    _, value = data_set.get(SPECIFIC_CHARACTER_SET, ("CS", b""))
    if isinstance(value, bytes) and value.strip(b" \0"):
        return Decoder(terms(value))
    return inherited or Decoder()


def json_model(data_set: DataSet, inherited: Decoder | None = None) -> JsonModel:
    """Raises UnknownCharacterSet, and UnicodeDecodeError for bytes that are not of the declared set."""
    decode = decoder_of(data_set, inherited)
    model: JsonModel = {}
    for tag, (vr, value) in sorted(data_set.items()):
        if tag == SPECIFIC_CHARACTER_SET or tag & 0xFFFF == 0:
            continue
        entry: dict[str, Any] = {"vr": vr}
        if isinstance(value, list):
            entry["Value"] = [json_model(item, decode) for item in value]
        elif vr in _BINARY:
            entry["InlineBinary"] = base64.b64encode(value).decode("ascii")
        elif value:
            entry["Value"] = _values(vr, value, decode)
        model[f"{tag:08X}"] = entry
    return model


def _values(vr: str, value: bytes, decode: Decoder) -> list[Any]:
    if vr in _NUMBERS:
        size = struct.calcsize(_NUMBERS[vr])
        numbers = struct.unpack(f"<{len(value) // size}{_NUMBERS[vr]}", value[: len(value) // size * size])
        # JSON knows no infinity.
        return [number if math.isfinite(number) else None for number in numbers]
    if vr == "AT":
        pairs = struct.unpack(f"<{len(value) // 4 * 2}H", value[: len(value) // 4 * 4])
        return [f"{group:04X}{element:04X}" for group, element in zip(pairs[::2], pairs[1::2], strict=True)]
    text = decode(value).replace("\0", "")
    if vr in _ONE_VALUE:
        return [text.rstrip()]
    return [_value(vr, part.strip()) for part in text.split("\\")]


def _value(vr: str, text: str) -> Any:
    if not text:
        return None
    if vr == "PN":
        return {name: group for name, group in zip(_GROUPS, text.split("="), strict=False) if group}
    if vr in {"IS", "DS"}:
        try:
            number = int(text) if vr == "IS" else float(text)
        except ValueError:
            number = math.nan
        # What is no number is kept as it stands, which the model allows for these (PS3.18 F.2.3.1).
        return number if math.isfinite(number) else text
    return text
