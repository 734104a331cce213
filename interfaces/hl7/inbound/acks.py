"""ACK as a message of its own: the application's answer in enhanced mode (HL7 2.5.1 2.9.3.1)."""

from interfaces import engine
from interfaces.hl7 import answers
from interfaces.hl7.er7 import Message
from interfaces.hl7.line import NoAnswer, answer_of
from interfaces.hl7.reading import Context, Outcome
from ris.core.errors import BadValue, NotFound


def answer(message: Message, context: Context) -> Outcome:
    """What the partner's application made of a message that its interface had committed."""
    try:
        said = answer_of(message, context.inbound.raw if context.inbound else b"")
    except NoAnswer as trouble:
        raise BadValue(trouble.text, location="MSA-1") from None
    answered = engine.answered_later(said.control_id, code=said.code, answer=said.raw, text=said.text)
    if answered is None:
        raise NotFound("We have sent no message under this control id.", location="MSA-2")
    answers.accepted(answered, said.code)
    return Outcome(patient=answered.patient, accession_number=answered.accession_number)
