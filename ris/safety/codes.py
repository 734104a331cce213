"""The code on the printed passport."""

import qrcode
from django.utils.safestring import SafeString, mark_safe
from qrcode.image.svg import SvgPathImage


def patient_code(number: str) -> SafeString:
    """The patient's number, and nothing else, as a QR code in SVG: paper gets lost."""
    image = qrcode.make(number, image_factory=SvgPathImage, box_size=10, border=0)
    svg: str = image.to_string(encoding="unicode")
    return mark_safe(svg)
