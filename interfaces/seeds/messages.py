"""Messages for the monitor of the demo department, through the doors where that is quick enough."""

from datetime import datetime, timedelta
from random import Random

from django.utils import timezone

from interfaces import actions, engine
from interfaces.hl7 import receiver
from interfaces.hl7.mllp import Frame
from interfaces.models import Endpoint, InboundMessage, OutboundMessage
from interfaces.seeds.twins import seed_twins
from interfaces.states import OutboundState
from interfaces.subscribers import tell
from ris.accounts.models import system_user
from ris.core.formats import local
from ris.department.models import Laterality, ProcedureType
from ris.events.models import Event
from ris.patients.models import Patient

_ORDER_FACTS = ["appointment.booked", "order.cancelled", "exam.started", "exam.completed"]
_REPORT_FACTS = ["report.preliminary", "report.signed", "report.addended"]
_REASONS = (
    "Pain for 3 weeks",
    "Follow-up",
    "Before surgery",
    "Fall yesterday",
    "Fever and cough",
    "Weight loss",
)
#: Exam codes of the sender that nobody here knows.
_FOREIGN = (("XRCHPAL", "CHEST PA/LAT"), ("CTABDW", "CT ABD W CONTRAST"))


class Messages:
    """Messages received and told, with the random numbers of one seed."""

    def __init__(self, number: int) -> None:
        self.rng = Random(f"{number} messages")
        self.now = timezone.now()

    def seed(self) -> None:
        self._receive()
        self._send()
        seed_twins(self.rng, self.now)

    # In

    def _receive(self) -> None:
        patients = list(
            Patient.objects.filter(birth_date__regex=r"^.{10}$", ideographic="")
            .prefetch_related("identifiers")
            .order_by("pk")[:400]
        )
        patients = self.rng.sample(patients, min(44, len(patients)))
        texts = [self._text(place, patient) for place, patient in enumerate(patients)]
        for place, text in enumerate(texts):
            at = self._at(place, len(texts))
            raw = text.replace("{at}", f"{local(at):%Y%m%d%H%M%S}").encode()
            for _ in receiver.receive(Frame(raw), "10.2.0.8"):
                pass
            taken = InboundMessage.objects.latest("pk")
            InboundMessage.objects.filter(pk=taken.pk).update(
                received_at=at, processed_at=at + timedelta(milliseconds=self.rng.randrange(8, 90))
            )

    def _at(self, place: int, count: int) -> datetime:
        """Over the last five hours, in order."""
        return self.now - timedelta(hours=5) * (1 - place / count) - timedelta(seconds=self.rng.randrange(40))

    def _text(self, place: int, patient: Patient) -> str:
        if place % 11 == 7:
            return self._bad(place, patient)
        if place % 4 == 3:
            foreign = _FOREIGN[place % 2] if place % 8 == 3 else None
            return self._order(place, patient, foreign)
        return self._visit(place, patient, self.rng.choice(("A04", "A08", "A08")))

    def _msh(self, place: int, kind: str) -> str:
        return (
            f"MSH|^~\\&|EMR|HARBOUR|LIGHTBOX|HARBOUR|{{at}}||{kind}|D{place:06d}|P|2.3.1||||||UNICODE UTF-8"
        )

    def _pid(self, patient: Patient, born: str = "") -> str:
        name = f"{patient.family}^{patient.given}^{patient.middle}^{patient.suffix}^{patient.prefix}"
        born = born or patient.birth_date.replace("-", "")
        return f"PID|||{patient.mrn}^^^HARBOUR^MR||{name}||{born}|{patient.sex}|||||{patient.mobile}"

    def _visit(self, place: int, patient: Patient, event: str, born: str = "") -> str:
        doctor = "2013^WHITLOW^AGNES^^^DR"
        return "\r".join(
            [
                self._msh(place, f"ADT^{event}"),
                f"EVN|{event}|{{at}}",
                self._pid(patient, born),
                f"PV1||O|CLINIC^{place}||||{doctor}|{doctor}|||||||||||VD{place:05d}^^^HARBOUR",
                "",
            ]
        )

    def _order(self, place: int, patient: Patient, foreign: tuple[str, str] | None) -> str:
        code, name = foreign or self._known_exam()
        number = f"ED{place:06d}^EMR"
        doctor = "2015^VAHDAT^SHIRIN^^^DR"
        return "\r".join(
            [
                self._msh(place, "ORM^O01"),
                self._pid(patient),
                f"ORC|NW|{number}||||||||{{at}}|||{doctor}",
                f"OBR|1|{number}||{code}^{name}^L|||||||||{self.rng.choice(_REASONS)}|||{doctor}",
                "",
            ]
        )

    def _known_exam(self) -> tuple[str, str]:
        exams = ProcedureType.objects.filter(
            modality__in=["CT", "US", "DX"], laterality=Laterality.NONE, active=True
        ).order_by("pk")
        exam = self.rng.choice(exams)
        return exam.code, exam.name

    def _bad(self, place: int, patient: Patient) -> str:
        """What senders get wrong: each is refused with the words it deserves."""
        plain = self._visit(place, patient, "A08")
        return [
            self._visit(place, patient, "A08", born="19680431"),
            plain.replace("ADT^A08", "MDM^T02"),
            plain.replace(f"{patient.mrn}^^^HARBOUR^MR", ""),
            self._order(place, patient, None).replace("ORC|NW", "ORC|ZZ"),
        ][place // 11 % 4]

    # Out

    def _send(self) -> None:
        """The newest facts told to an EMR that is paused, so that it never connects to anybody."""
        shell = system_user("shell")
        partner = actions.configure_endpoint(
            "DEMO EMR",
            {"protocol": "mllp", "direction": "out", "address": "127.0.0.1:9", "facts": ["orders", "results"],
             "paused": True, "profile": {"pdf": "no"}},
            by=shell,
        )  # fmt: skip
        facts = Event.objects.filter(kind__in=[*_ORDER_FACTS, *_REPORT_FACTS], at__lte=self.now).order_by(
            "-at"
        )
        for event in sorted(facts[:45], key=lambda one: one.pk):
            tell(event)
        messages = list(
            OutboundMessage.objects.filter(endpoint=partner).select_related("event").order_by("pk")
        )
        for place, message in enumerate(messages):
            assert message.event is not None
            at = message.event.at + timedelta(seconds=self.rng.randrange(1, 4))
            OutboundMessage.objects.filter(pk=message.pk).update(created_at=at)
            if place < len(messages) - 12:
                self._answer(message, at, place)
        Endpoint.objects.filter(pk=partner.pk).update(last_answer_at=self.now - timedelta(minutes=20))

    def _answer(self, message: OutboundMessage, at: datetime, place: int) -> None:
        if OutboundMessage.objects.filter(key=message.key, status=OutboundState.REJECTED).exists():
            return  # it waits behind the refused one
        engine.mark_sent(message)
        if place % 23 == 5:
            answer = _ack(message, "AE", "Patient has no open visit")
            engine.mark_refused(
                message, code="AE", answer=answer, text="Patient has no open visit", retry_in=None
            )
        else:
            engine.mark_accepted(message, code="AA", answer=_ack(message, "AA", ""))
        OutboundMessage.objects.filter(pk=message.pk).update(
            sent_at=at, answered_at=at + timedelta(milliseconds=180)
        )


def _ack(message: OutboundMessage, code: str, text: str) -> bytes:
    header = f"MSH|^~\\&|DEMO EMR|||LIGHTBOX|||ACK|{message.control_id}|P|2.3.1"
    return f"{header}\rMSA|{code}|{message.control_id}|{text}\r".encode()
