"""The rules of the passport and their defaults; what a site changes lies in `RuleSetting`.

The figures follow common guidance (ESUR and ACR on contrast media, ACR on MR safety) and are the site's to set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import IntEnum

from ris.safety.models import RuleSetting


class Verdict(IntEnum):
    """May we today? The worst of the rules decides."""

    YES = 0
    CONDITIONS = 1
    ASK = 2
    NO = 3


WORDS = {
    Verdict.YES: "Yes",
    Verdict.CONDITIONS: "Yes, with conditions",
    Verdict.ASK: "Ask first",
    Verdict.NO: "No",
}

IONISING = frozenset({"CT", "NM", "PT", "RF", "XA", "DX", "CR", "MG"})
#: Far from the womb: the beam does not meet it.
_FAR_PARTS = (
    "head", "skull", "face", "sinus", "orbit", "temporal", "dental", "jaw", "neck", "cervical", "shoulder", "clavicle",
    "humerus", "arm", "elbow", "wrist", "hand", "finger", "thumb", "extremity", "leg", "knee", "tibia", "ankle", "foot",
    "heel", "toe", "chest", "rib", "breast", "heart",
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    code: str
    #: When it fires, for the page of rules.
    words: str
    verdict: Verdict
    #: Without a clearance the exam is not started by hand. Only where the department named it.
    stops: bool = False
    #: The right by which it is cleared; "" where there is nothing to clear.
    right: str = "safety.clear"
    #: How long what was said or measured stands: days, 0 its own day, None until it is changed.
    valid_days: int | None = None
    limit: Decimal | None = None
    age_from: int | None = None
    age_to: int | None = None
    modalities: frozenset[str] = frozenset()
    except_parts: tuple[str, ...] = ()
    active: bool = True


RULES = {
    rule.code: rule
    for rule in (
        Rule("mr-implant", "MR with a device that is not MR safe, or one spoken of and not recorded", Verdict.NO, stops=True,
             modalities=frozenset({"MR"})),
        Rule("pregnancy", "Ionising radiation while pregnancy is not ruled out", Verdict.NO, stops=True, valid_days=0,
             age_from=12, age_to=55, modalities=IONISING, except_parts=_FAR_PARTS),
        Rule("mr-pregnancy", "MR of somebody who is or may be pregnant", Verdict.ASK, valid_days=0,
             modalities=frozenset({"MR"})),
        Rule("screening", "The safety questions have not been reviewed with the patient", Verdict.ASK, right=""),
        Rule("answers", "An answer that somebody has to think about", Verdict.ASK),
        Rule("reaction-severe", "Contrast after a severe reaction to its kind", Verdict.NO),
        Rule("reaction", "Contrast after a lesser reaction to its kind", Verdict.CONDITIONS, right=""),
        Rule("allergies", "Contrast where the record's allergies name a contrast medium", Verdict.ASK),
        Rule("renal-missing", "Contrast without an eGFR that is recent enough", Verdict.ASK, valid_days=90,
             modalities=frozenset({"CT", "XA", "RF", "MR"})),
        Rule("renal-low", "Contrast with an eGFR below the limit", Verdict.NO, limit=Decimal(30), valid_days=90,
             modalities=frozenset({"CT", "XA", "RF", "MR"})),
        Rule("renal-reduced", "Iodinated contrast with an eGFR below the limit", Verdict.CONDITIONS, right="",
             limit=Decimal(45), valid_days=90, modalities=frozenset({"CT", "XA", "RF"})),
        Rule("metformin", "Iodinated contrast on metformin with an eGFR below the limit or unknown", Verdict.CONDITIONS,
             right="", limit=Decimal(30), valid_days=180, modalities=frozenset({"CT", "XA", "RF"})),
        Rule("anticoagulant", "A puncture on a blood thinner", Verdict.CONDITIONS, right="", valid_days=90),
        Rule("claustrophobia", "MR for somebody who fears narrow spaces", Verdict.CONDITIONS, right="", valid_days=365,
             modalities=frozenset({"MR", "PT"})),
        Rule("weight", "The patient weighs more than the table carries, in kilograms", Verdict.ASK, limit=Decimal(200),
             valid_days=180, modalities=frozenset({"MR", "CT", "PT", "NM", "XA", "RF"})),
    )
}  # fmt: skip

#: What a site may set of a rule.
SETTABLE = ("active", "valid_days", "limit", "age_from", "age_to", "modalities", "except_parts")


def rules_of(settings: Mapping[str, RuleSetting]) -> dict[str, Rule]:
    """The rules as the site has them."""
    return {code: _as_set(rule, settings.get(code)) for code, rule in RULES.items()}


def _as_set(rule: Rule, setting: RuleSetting | None) -> Rule:
    if setting is None:
        return rule
    return replace(
        rule, active=setting.active, valid_days=setting.valid_days, limit=setting.limit, age_from=setting.age_from,
        age_to=setting.age_to, modalities=frozenset(setting.modalities), except_parts=tuple(setting.except_parts),
    )  # fmt: skip


def site_rules() -> dict[str, Rule]:
    return rules_of({one.code: one for one in RuleSetting.objects.all()})
