"""A site's own choices (`endpoint --profile KEY=VALUE`): each key, what it may hold, and what it means."""

import re
from dataclasses import dataclass

from ris.core.errors import BadValue


@dataclass(frozen=True, slots=True)
class Choice:
    meaning: str
    values: tuple[str, ...] = ()
    default: str = ""
    #: What any value must look like, where it is not one of `values`.
    pattern: str = ""


#: From and to, on the clock of the house.
QUIET_HOURS = r"([01]?\d|2[0-4])(?::([0-5]\d))?-([01]?\d|2[0-4])(?::([0-5]\d))?"

#: By what they are about.
SECTIONS: dict[str, dict[str, Choice]] = {
    "What comes in": {
        "facility": Choice("code of the facility that this sender's orders are for; the first one when empty"),
        "authority": Choice("assigning authority of patient numbers sent without one (PID-3.4), and the primary one"),
        "timezone": Choice("zone of times sent without an offset"),
        "processing": Choice("processing ids taken (MSH-11)", ("P", "PT", "PD", "PTD"), "P"),
        "never_ack": Choice(
            "who wants no answer at all (MSH-15 and MSH-16 NE) gets the plain one, or none", ("answer", "silence"), "answer"
        ),
        "ack_to": Choice("outbound partner to whom application answers of enhanced mode go; back on the line when empty"),
        "batch_acks": Choice(
            "a batch is answered by one batch of answers, or by each on its own", ("batch", "each"), "batch"
        ),
        "sequence_gap": Choice(
            "MSH-13: how many missing numbers are waited for before a person is told", (), "10", r"\d{1,4}"
        ),
        "unknown_facility": Choice(
            "an order for a department that the code map does not know is taken for `facility`, or refused",
            ("take", "refuse"), "take",
        ),
        "repeated_order": Choice(
            "a new order under a number in use is refused (205), or taken as a change", ("reject", "change"), "reject"
        ),
        "unknown_patient": Choice(
            "an update (A08, A31) of a patient who is not known adds them, or is refused (204)",
            ("create", "reject"), "create",
        ),
        "retired_ids": Choice(
            "a number of a merged record leads to the survivor, or is refused (204)", ("redirect", "reject"), "redirect"
        ),
        "merge_unknown": Choice(
            "a merge of patients who are not known yet waits for them, or adds them", ("wait", "create"), "wait"
        ),
        "temporary_names": Choice(
            "family names given to who cannot say theirs: another name and birth date are then no other person",
            (), "DOE,UNKNOWN,UNIDENTIFIED,TRAUMA", r"[^,]+(,[^,]+)*",
        ),
        "vip": Choice("a VIP indicator (PV1-16) restricts the record, or is passed over", ("restrict", "ignore"), "ignore"),
        "tracking": Choice("A04 and A10 check in the exam that is planned for the day", ("yes", "no"), "no"),
        "replies": Choice(
            "an order is answered by ACK alone, by ORR, ORG or ORI in its place, or by an ORM of its own (`reply_to`)",
            ("no", "orr", "orm"), "no",
        ),
        "reply_to": Choice("outbound partner to whom the ORM replies go; its name"),
        "silence_minutes": Choice(
            "raise an alarm when nothing has come for so long; 0 never; learned from the last week when empty",
            (), "", r"\d{1,5}",
        ),
    },
    "Both ways": {
        "quiet_hours": Choice(
            "when nobody is told of this partner's alarms; the house's own when empty, as 22-6", (), "",
            QUIET_HOURS,
        ),
        "sequence": Choice("MSH-13 carries sequence numbers (HL7 2.5.1 2.10.1)", ("yes", "no"), "no"),
    },
    "What goes out": {
        "order": Choice("a refused message holds back its own order, or the whole queue", ("key", "strict"), "key"),
        "acks": Choice(
            "MSH-15 and MSH-16: none (original mode), AL AL, AL ER or AL NE",
            ("original", "enhanced", "errors", "commit"), "original",
        ),
        "application_acks": Choice(
            "in enhanced mode AL AL: wait for them on the line, or let them come later", ("line", "later"), "line"
        ),
        "back_off": Choice(
            "seconds to wait after each failure; the last one for ever", (), "1,2,5,10,30,60", r"\d{1,4}(,\d{1,4}){0,19}"
        ),
        "ar_is_transient": Choice("AR is tried again as often as AE", ("yes", "no"), "no"),
        "unfit": Choice(
            "text with letters the encoding lacks: send it as UTF-8, or without its accents where that is enough",
            ("utf-8", "transliterate"), "utf-8",
        ),
        "procedures": Choice(
            "send RAD-4 and RAD-13 with the group orders: as ORM with ZDS, as OMI with IPC, or not",
            ("yes", "omi", "no"), "yes",
        ),
        "stations": Choice(
            "several machines for one step in OMI: an IPC for each, or all in IPC-9", ("ipc", "repeat"), "ipc"
        ),
        "statuses": Choice(
            "send order status (ORC-1 SC) with the group orders; more: also arrivals, ends of exams and reports",
            ("yes", "more", "no"), "yes",
        ),
        "orders_as": Choice("orders and their status to the placer go as ORM^O01 or as OMG^O19", ("orm", "omg"), "orm"),
        "filler_orders": Choice("send orders born here (ORC-1 SN) to be numbered by the placer", ("yes", "no"), "no"),
        "number_seconds": Choice(
            "how long a number is waited for before it is asked for again and a person is told", (), "600", r"\d{1,6}"
        ),
        "cancels": Choice("cancelled here goes out as status (SC, CA) or as ORC-1 OC", ("sc", "oc"), "sc"),
        "order_only": Choice("only orders that this inbound endpoint placed; its name"),
        "ae_retries": Choice("how often an AE is tried again before a person is asked", tuple(map(str, range(21))), "0"),
        "patients": Choice(
            "send changes and merges of patients (RAD-12) with the group orders; not to where they come from",
            ("yes", "no"), "no",
        ),
    },
    "Results": {
        "text": Choice("report text: one FT per section, one TX per line, or one TX per section with a repetition per "
                       "line", ("ft", "tx", "rep"), "ft"),
        "text_limit": Choice("longest OBX-5 of a text, in characters as sent; more goes into the next OBX",
                             ("4000", "16000", "32000", "64000"), "32000"),
        "pdf": Choice("embed the report as PDF (OBX ED)", ("yes", "no"), "yes"),
        "interpreter": Choice("OBR-32 as NDL (name in subcomponents) or as XCN", ("ndl", "xcn"), "ndl"),
        "section_codes": Choice("OBX-3 as LOINC, as order code with &GDT, &IMP, &REC, or as SR Text (RAD-28)",
                                ("loinc", "suffix", "sr"), "loinc"),
        "results_as": Choice("send reports as ORU, as MDM, or as both", ("oru", "mdm", "both"), "oru"),
        "unread_status": Choice("send ORU with OBR-25 I when an exam is complete and not yet read", ("yes", "no"), "no"),
        "partial": Choice("OBR-25 R while other exams of the order are not yet read", ("yes", "no"), "no"),
        "addendum": Choice("an addendum as C with the full text, or as A with the addendum alone", ("c", "a"), "c"),
        "withdrawn": Choice("OBR-25 of a withdrawn report", ("x", "c"), "x"),
        "withdrawn_lines": Choice("OBX-11 of a withdrawn report: W posted as wrong, D deletes", ("w", "d"), "w"),
        "grouped": Choice("orders read in one report: a message each, or one message with an OBR each",
                          ("each", "one"), "each"),
        "image_link": Choice("address of the images, with {study_uid} or {accession}; none is sent when empty"),
        "image_link_as": Choice("OBX-2 of the images' address", ("rp", "st"), "rp"),
        "digest": Choice("send the seal of the signed text (SHA-256) in an OBX", ("yes", "no"), "no"),
        "result_needs_placer": Choice("keep results until the placer has numbered the order", ("yes", "no"), "no"),
    },
    "Archive (DICOM and DICOMweb)": {
        "objects": Choice("reports as Basic Text SR, as Encapsulated PDF, or as both", ("sr", "pdf", "both"), "sr"),
        "preliminary_objects": Choice("send preliminary reports too, unverified", ("yes", "no"), "no"),
        "rejection_notes": Choice(
            "of a withdrawn report send a note that rejects its objects (RAD-66), or leave them to a person",
            ("yes", "no"), "yes",
        ),
        "commitment": Choice("ask the archive's word that it keeps what was stored (C-STORE only)", ("yes", "no"), "no"),
        "ask_images": Choice(
            "ask it which images of recent exams it has (RAD-11: C-FIND or QIDO-RS)", ("yes", "no"), "no"
        ),
        "priors": Choice("list its studies of a patient on the exam and reading pages", ("yes", "no"), "no"),
        "viewer": Choice(
            "address of its viewer, with {study_uid}, {accession}, {patient_id} or {issuer}; as IHE IID: "
            "https://viewer/IHEInvokeImageDisplay?requestType=STUDY&studyUID={study_uid}",
            (), "", r"https?://[^\s]{1,240}",
        ),
        "viewer_facility": Choice("code of the facility whose exams its viewer shows; all when empty"),
        "secret": Choice(
            "DICOMweb: environment variable with user:password or a bearer token (or, with _FILE behind its name, a file)",
            (), "", r"RIS_PARTNER_[A-Z0-9_]{1,40}",
        ),
    },
    "Appointments": {
        "siu_overbook": Choice(
            "an outside scheduler's time (SIU) that is taken or outside opening hours: refuse it, or overbook",
            ("no", "yes"), "no",
        ),
        "schedule_version": Choice(
            "version of SIU for a partner whose other messages are older than 2.4", ("2.3.1", "2.4", "2.5", "2.5.1"), "2.4"
        ),
        "arrivals": Choice("tell arrival and end as SIU S14 with status Started and Complete", ("yes", "no"), "no"),
        "no_echo": Choice("do not tell of appointments what this inbound endpoint itself has told; its name"),
        "blocks": Choice("tell when a room is blocked and free again, as SIU S23 and S24", ("yes", "no"), "no"),
    },
    "Charges": {
        "charge_components": Choice(
            "which charges: both halves as they come, one of them, or both as one service when the report is final",
            ("both", "technical", "professional", "global"), "both",
        ),
        "charge_needs": Choice(
            "what a charge is held for when the order lacks it", ("account", "diagnosis", "account,diagnosis")
        ),
        "bilateral": Choice("an exam of both sides: modifier 50, or quantity 2", ("modifier", "quantity"), "modifier"),
        "stopped_exam": Choice(
            "an exam that was stopped is not charged, or charged with this modifier", ("no", "52", "53", "73", "74"), "no"
        ),
    },
}  # fmt: skip
CHOICES = {key: choice for section in SECTIONS.values() for key, choice in section.items()}


def check(key: str, value: str) -> None:
    """Raises BadValue with what would be right."""
    choice = CHOICES.get(key)
    if choice is None:
        raise BadValue(f"The profile has no key {key}; it has {', '.join(sorted(CHOICES))}.", location=key)
    if choice.values and value and value not in choice.values:
        raise BadValue(f"{key} takes {', '.join(choice.values)}, not {value}.", location=key)
    if choice.pattern and value and not re.fullmatch(choice.pattern, value, re.ASCII):
        like = (
            f"takes what looks like {choice.default}, not"
            if choice.default
            else f"is for {choice.meaning}; it cannot be"
        )
        raise BadValue(f"{key} {like} {value}.", location=key)


def option(profile: dict[str, str], key: str) -> str:
    return str(profile.get(key) or CHOICES[key].default)
