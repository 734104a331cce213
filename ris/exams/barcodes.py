"""Codes on paper as SVG: QR, and Code 128 for scanners that read lines only."""

import qrcode
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from qrcode.image.svg import SvgPathImage

#: Bar and space widths of the symbols 0 to 105 of Code 128 (ISO/IEC 15417), six digits each; the stop has seven.
_WIDTHS = (
    "212222222122222221121223121322131222122213122312132212221213221312231212112232122132122231"
    "113222123122123221223211221132221231213212223112312131311222321122321221312212322112322211"
    "212123212321232121111323131123131321112313132113132311211313231113231311112133112331132131"
    "113123113321133121313121211331231131213113213311213131311123311321331121312113312311332111"
    "314111221411431111111224111422121124121421141122141221112214112412122114122411142112142211"
    "241211221114413111241112134111111242121142121241114212124112124211411212421112421211212141"
    "214121412121111143111341131141114113114311411113411311113141114131311141411131211412211214"
    "211232"
)
_STOP_WIDTHS = "2331112"
_START_B, _START_C, _CODE_B, _STOP = 104, 105, 100, 106


def qr(text: str) -> SafeString:
    image = qrcode.make(text, image_factory=SvgPathImage, box_size=10, border=0)
    svg: str = image.to_string(encoding="unicode")
    return mark_safe(svg)


def symbols(text: str) -> list[int]:
    """The symbol values: pairs of digits in set C as far as they go, the rest in set B, checksum, stop."""
    if not text or any(not " " <= sign <= "~" for sign in text):
        raise ValueError("Code 128 sets B and C hold printable ASCII")
    digits = len(text) - len(text.lstrip("0123456789"))
    paired = digits - digits % 2 if digits >= 4 else 0
    values = [_START_C if paired else _START_B]
    values += [int(text[at : at + 2]) for at in range(0, paired, 2)]
    if paired and paired < len(text):
        values.append(_CODE_B)
    values += [ord(sign) - 32 for sign in text[paired:]]
    check = (values[0] + sum(at * value for at, value in enumerate(values[1:], start=1))) % 103
    return [*values, check, _STOP]


def _widths(value: int) -> str:
    return _STOP_WIDTHS if value == _STOP else _WIDTHS[value * 6 : value * 6 + 6]


def code128(text: str, height: int = 40) -> SafeString:
    """Bars of 1 unit a module, with the quiet zones of 10 modules the standard asks for."""
    at, bars = 10, []
    for value in symbols(text):
        for place, width in enumerate(map(int, _widths(value))):
            if place % 2 == 0:
                bars.append((at, width, height))
            at += width
    drawn = format_html_join("", '<rect x="{}" y="0" width="{}" height="{}"></rect>', bars)
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" shape-rendering="crispEdges">{}</svg>',
        at + 10, height, drawn,
    )  # fmt: skip
