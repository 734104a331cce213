"""The life of a charge. In brackets FT1-6 (table 0017)."""

from django.db import models

from ris.core.flow import Flow


class ChargeStatus(models.TextChoices):
    CAPTURED = "captured", "New"  # CG
    HELD = "held", "Held"
    SENT = "sent", "Sent"
    VOIDED = "voided", "Voided"  # CD when it had been sent


C = ChargeStatus

CHARGE_FLOW = Flow(
    {
        C.CAPTURED: frozenset({C.HELD, C.SENT, C.VOIDED}),
        # Straight to sent: it was on its way when somebody held it, and the receiver took it.
        C.HELD: frozenset({C.CAPTURED, C.SENT, C.VOIDED}),
        C.SENT: frozenset({C.VOIDED}),
        C.VOIDED: frozenset(),
    }
)


class Component(models.TextChoices):
    TECHNICAL = "technical", "Technical"
    PROFESSIONAL = "professional", "Professional"
    SUPPLY = "supply", "Supplies"


#: The two of which a service is made.
HALVES = (Component.TECHNICAL, Component.PROFESSIONAL)
