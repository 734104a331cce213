"""The DICOM conformance statement (PS3.2), written from the tables the services work by."""

from collections.abc import Iterator, Mapping

from pydicom.datadict import dictionary_description

from interfaces.dicom import ae, association, mpps, worklist
from interfaces.dicom.attributes import WORKLIST, Attribute, Match
from interfaces.dicom.mpps import NEEDED, ONLY_CREATED

_MATCHING = {
    Match.NONE: "",
    Match.SINGLE: "single value",
    Match.WILDCARD: "single value, wildcard",
    Match.ANY_OF_MANY: "single value, against any stored value",
    Match.NAME: "single value, wildcard; any case, any component group",
    Match.UID_LIST: "single value, list of UID",
    Match.DATE: "single value, range",
    Match.START_DATE: "single value, range; combined with the time",
    Match.START_TIME: "single value, range; combined with the date",
    Match.ITEM: "sequence",
}

_INTRODUCTION = f"""# DICOM conformance statement of Lightbox RIS

Written by `manage.py dicom_conformance` from the tables the services work by; a test compares the two.

## Network

One application entity, its title set by `RIS_AE_TITLE`, listens on one port. It accepts associations only.

| Service | SOP class | UID | Role |
|---|---|---|---|
| Verification | Verification | 1.2.840.10008.1.1 | SCP |
| Worklist | Modality Worklist Information Model - FIND | {worklist.SOP_CLASS} | SCP |
| Performed steps | Modality Performed Procedure Step | {mpps.SOP_CLASS} | SCP |

Transfer syntaxes: Implicit VR Little Endian and Explicit VR Little Endian; the first one proposed that is one of these.

* A called AE title other than ours is rejected (1, 1, 7). A calling AE title is accepted when it is that of an active
  station of the department, else rejected (1, 1, 3). With `RIS_ENV` demo or test, peers on the loopback address are
  accepted under any title. While the record cannot be reached, associations are rejected transiently (2, 3, 1).
* Maximum length we receive: {association.MAX_PDU}.
* At most {ae.MAX_CONNECTIONS} connections, {ae.MAX_CONNECTIONS_PER_ADDRESS} from one address; when full, whoever has
  been silent longest makes room.
* Time limits: {association.ASSOCIATE_SECONDS:.0f} s until the association request is complete,
  {association.MESSAGE_SECONDS:.0f} s for one message, {association.IDLE_SECONDS:.0f} s between messages.
* SCP/SCU role selection is answered; we are SCP only. SOP class extended negotiation is answered for the worklist:
  fuzzy matching and time zone adjustment are declined. One operation at a time. No user identity.

## Modality Worklist

The answer is a query over the live schedule: a change is seen by the next C-FIND. Returned are scheduled procedure
steps that are scheduled, arrived or ready and whose order and appointment stand; started, ended and cancelled ones
are not. Answers come by start, then by urgency. Only requested attributes are returned; sequences have undefined
length. Date and time are those of the facility's clock.

Matching is case-sensitive, but for names (VR PN), where letters of either case match. Accents are told apart. `*` alone
is universal for every key. Several values in a key, parted by backslashes, match any of them. A key we do not
have, or do not match on, is returned with zero length and status FF01. Date and time as ranges, or a date and a range
of times, are one combined range.

| Status | When |
|---|---|
| 0000 | all matches sent, or an identifier without any key |
| FF00, FF01 | a match; FF01: an optional key was not supported |
| FE00 | cancelled; the association goes on |
| A700 | over {worklist.MAX_MATCHES} matches (those are sent), {worklist.IDENTIFIER_CAP} bytes of identifier, or 5 s |
| A900 | the identifier cannot be read: impossible dates, two items in a sequence, an unknown character set |
| C001 | an error of ours |
| 0122, 0211 | another SOP class, another operation |

Character sets: requests in any set of PS3.3 C.12.1.1.2. Answers are UTF-8 (ISO_IR 192) where they need more than ASCII, or
in the set of the station that asks; letters it lacks lose their accent or become question marks.

| Tag | Attribute | VR | Matching |
|---|---|---|---|
"""

_PERFORMED = f"""
## Modality Performed Procedure Step

Every data set is stored as it came before it is read. Steps match the schedule by SPS ID, else Requested Procedure ID,
Study Instance UID or Accession Number; what matches nothing, or an order that has ended, or another patient, is
accepted and left to a person. Several items in the Scheduled Step Attributes Sequence start and end together; several
steps for one procedure end it with the last. A reason 110514 (incorrect worklist entry selected) puts the scheduled
step back on the worklist. The RIS never sets a final state by itself. Nothing is coerced. Each message is read in its own
character set. Data sets may have {mpps.DATA_SET_CAP} bytes.

| Status | When |
|---|---|
| 0000 | stored and applied |
| 0105 | an N-SET names an attribute that only an N-CREATE may give |
| 0106 | a status, date or time that cannot be, or text that is not of its character set |
| 0110 | the data set cannot be read, or an error of ours; with Error ID A710: the step is final |
| 0111 | the instance exists |
| 0112 | there is no such instance |
| 0117 | the SOP Instance UID is no UID |
| 0120, 0121 | an N-CREATE lacks a type 1 attribute, or its value |
| 0213 | the data set is too large |

All attributes are kept. An N-CREATE must hold those of type 1; type 2 attributes may be missing. An N-SET may set attributes
that were not created. A final state without end or series is accepted and logged.

| Tag | Attribute | N-CREATE | N-SET |
|---|---|---|---|
"""


def conformance_statement() -> str:
    rows = (
        f"| ({tag >> 16:04X},{tag & 0xFFFF:04X}) | {_name(tag)} | {'required' if tag in NEEDED else 'accepted'} | refused |"
        for tag in sorted(ONLY_CREATED)
    )
    status = f"| (0040,0252) | {_name(0x00400252)} | required: IN PROGRESS | IN PROGRESS, COMPLETED, DISCONTINUED |"
    others = "| | all others | accepted | accepted, replaces the former content whole |"
    return (
        _INTRODUCTION
        + "\n".join(_keys(WORKLIST, ""))
        + "\n"
        + _PERFORMED
        + "\n".join((*rows, status, others))
        + "\n"
    )


def _keys(known: Mapping[int, Attribute], nesting: str) -> Iterator[str]:
    for tag, attribute in sorted(known.items()):
        place = f"{nesting}({tag >> 16:04X},{tag & 0xFFFF:04X})"
        yield f"| {place} | {_name(tag)} | {attribute.vr} | {_MATCHING[attribute.match]} |"
        yield from _keys(attribute.item, nesting + ">")


def _name(tag: int) -> str:
    return dictionary_description(tag)
