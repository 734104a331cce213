"""The one way to fetch a lasting fact or an edition for a user."""

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import NotFound
from ris.patients.models import Patient
from ris.safety.models import Implant, PatientFact, Questionnaire, Reaction, RenalValue, Statement

FACTS: dict[str, type[PatientFact]] = {
    "implant": Implant,
    "reaction": Reaction,
    "renalvalue": RenalValue,
    "statement": Statement,
}


def fact_for(user: User, patient: Patient, what: str, pk: int) -> PatientFact:
    """A fact of the patient, whose page has noted the look. Raises NotAllowed or NotFound."""
    require(user, "safety.view")
    model = FACTS.get(what)
    found = model._default_manager.filter(pk=pk, patient=patient).first() if model else None
    if found is None:
        raise NotFound("There is no such entry.")
    return found


def questionnaire_for(user: User, pk: int) -> Questionnaire:
    require(user, "safety.change")
    found = Questionnaire.objects.select_related("made_by", "published_by").filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such questionnaire.")
    return found
