"""A site's own choices (`endpoint --profile KEY=VALUE`): each key, what it may hold, and what it means."""

from dataclasses import dataclass

from ris.core.errors import BadValue


@dataclass(frozen=True, slots=True)
class Choice:
    meaning: str
    values: tuple[str, ...] = ()
    default: str = ""


CHOICES = {
    # In
    "facility": Choice("code of the facility that this sender's orders are for; the first one when empty"),
    "authority": Choice("assigning authority of patient numbers sent without one (PID-3.4), and the primary one"),
    "timezone": Choice("zone of times sent without an offset"),
    "processing": Choice("processing ids taken (MSH-11)", ("P", "PT", "PD", "PTD"), "P"),
    # Out
    "procedures": Choice("send RAD-4 and RAD-13 (ORM with ZDS) with the group orders", ("yes", "no"), "yes"),
    "statuses": Choice("send order status (ORC-1 SC) with the group orders", ("yes", "no"), "yes"),
    "text": Choice("report text: one FT per section, or one TX per line", ("ft", "tx"), "ft"),
    "pdf": Choice("embed the report as PDF (OBX ED)", ("yes", "no"), "yes"),
    "interpreter": Choice("OBR-32 as NDL (name in subcomponents) or as XCN", ("ndl", "xcn"), "ndl"),
    "section_codes": Choice("OBX-3 as LOINC, or order code with &GDT, &IMP, &REC", ("loinc", "suffix"), "loinc"),
    "order_only": Choice("only orders that this inbound endpoint placed; its name"),
    "ae_retries": Choice("how often an AE is tried again before a person is asked", tuple(map(str, range(21))), "0"),
}  # fmt: skip


def check(key: str, value: str) -> None:
    """Raises BadValue with what would be right."""
    choice = CHOICES.get(key)
    if choice is None:
        raise BadValue(f"The profile has no key {key}; it has {', '.join(sorted(CHOICES))}.", location=key)
    if choice.values and value and value not in choice.values:
        raise BadValue(f"{key} takes {', '.join(choice.values)}, not {value}.", location=key)


def option(profile: dict[str, str], key: str) -> str:
    return str(profile.get(key) or CHOICES[key].default)
