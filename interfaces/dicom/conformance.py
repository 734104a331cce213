"""The DICOM conformance statement (PS3.2 annex A), written from the tables the services work by."""
# ruff: noqa: E501 - the lines are those of the document

from collections.abc import Iterable, Iterator, Mapping

from pydicom.datadict import dictionary_description
from pydicom.uid import UID, BasicTextSRStorage, EncapsulatedPDFStorage, KeyObjectSelectionDocumentStorage

from interfaces.dicom import (
    ae,
    association,
    dimse,
    listener,
    mpps,
    scu,
    standin,
    stations,
    worklist,
)
from interfaces.dicom.ae import Service
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

_OPERATIONS = {
    dimse.C_ECHO_RQ: "C-ECHO", dimse.C_FIND_RQ: "C-FIND", dimse.C_STORE_RQ: "C-STORE", dimse.N_CREATE_RQ: "N-CREATE",
    dimse.N_SET_RQ: "N-SET", dimse.N_GET_RQ: "N-GET", dimse.N_EVENT_REPORT_RQ: "N-EVENT-REPORT",
    dimse.N_ACTION_RQ: "N-ACTION",
}  # fmt: skip

_OVERVIEW = """# DICOM conformance statement of Lightbox RIS

Written by `manage.py dicom_conformance` from the tables the services work by, in the order of PS3.2 annex A. Tests compare it
with the code, and what it says with what a running server negotiates and returns (`tests/interfaces/dicom/test_conformance.py`).

## 1 Conformance statement overview

Lightbox is a radiology information system: it tells modalities what to do (Modality Worklist) and hears what they did
(Performed Procedure Step), takes dose reports, key objects and notices of available images, and sends reports to archives.

| SOP class | UID | SCU | SCP |
|---|---|---|---|
"""

_IMPLEMENTATION = f"""
No media are read or written.

## 3 Introduction

Of the terms of PS3.4 table K.6-1 and F.7.2-1 this document names what is supported; what it does not name is not. Numbers of
sections are those of PS3.2.

## 4 Networking

### 4.1 Implementation model

One application entity, its title set by `RIS_AE_TITLE` (LIGHTBOX), answers on one port in clear text and, with `run_dicom --tls` or
`up --dicom-tls`, on a second one over TLS. It answers at once whatever is asked, from the live record; it keeps what it is
told before it reads it. As an SCU it opens associations to the partners of protocol DICOM that an administrator has
entered, when something is to be sent or asked.

### 4.2 AE specifications

#### 4.2.1 Association policies

| | |
|---|---|
| Application context | 1.2.840.10008.3.1.1.1 |
| Implementation class UID | 2.25.164569580931331999422803590479679562966, or `RIS_UID_ROOT`.1 |
| Implementation version name | LIGHTBOX_1 |
| Maximum length received | {association.MAX_PDU} |
| Associations at once | {ae.MAX_CONNECTIONS}, of one address {ae.MAX_CONNECTIONS_PER_ADDRESS}; when full, whoever has been silent longest makes room |
| Asynchronous operations window | not negotiated: one operation at a time, up to 16 sent ahead are answered in order |
| Until the association request is complete | {association.ASSOCIATE_SECONDS:.0f} s; until a TLS handshake is, {association.HANDSHAKE_SECONDS:.0f} s |
| Until a message is complete | {association.MESSAGE_SECONDS:.0f} s |
| Between messages | {association.IDLE_SECONDS:.0f} s |
| Role selection | answered: of the two roles ours is as in table 4.2.4 |
| Extended negotiation | answered for the worklist: fuzzy matching of names and time zone adjustment are declined |
| User identity | not answered |

#### 4.2.2 Association acceptance policy

* A called AE title other than ours is rejected (1, 1, 7), another protocol version (1, 2, 2), another application context (1, 1, 2),
  a maximum length under 128 (1, 1, 1).
* A calling AE title is accepted when it is that of an active station of the department, from an address that the station is
  bound to, if to any, and with the certificate it is bound to, if to any; else it is rejected (1, 1, 3) and the audit says so. A
  certificate that one station is bound to opens no other title. With `RIS_ENV` demo or test, peers on the loopback address are
  accepted under any title. A changed station counts within {stations.FRESH_SECONDS:.0f} s.
* While the database cannot be reached, stations are known from the copy (annex 8.5); without one, associations are rejected transiently (2, 3, 1).

| Context of | Result |
|---|---|
| a SOP class of table 4.2.4 with a transfer syntax of ours | 0, acceptance; of the syntaxes proposed the first that is ours |
| another SOP class | 3, abstract syntax not supported |
| none of our transfer syntaxes | 4, transfer syntaxes not supported |
| the role that is ours | 1, user rejection |

#### 4.2.3 Transfer syntaxes

| Name | UID |
|---|---|
"""

_SERVICES = """
#### 4.2.4 Presentation contexts accepted

| SOP class | UID | Our role | Operations | Longest data set |
|---|---|---|---|---|
"""

_INITIATED = """
#### 4.2.5 Association initiation policy

Proposed to partners, each with Explicit and Implicit VR Little Endian. What is refused or unanswered is tried again after 1, 2, 5, 10, 30
and then every 60 s, in order for each object; a status that says the object is wrong waits for a person.

| SOP class | UID | Operations | When |
|---|---|---|---|
"""

_WORKLIST = f"""
#### 4.2.6 SOP specific conformance: Modality Worklist (SCP)

The answer is a query over the live schedule: a change is seen by the next C-FIND. Returned are scheduled procedure steps whose order
and appointment stand and whose status the station shows: scheduled, arrived and ready unless set otherwise; ended and cancelled ones
never. A station may be set to see only its own steps, or only some days; a key that names a machine, a date, a patient or an exam says
otherwise and wins. Answers come by start, then by urgency. Only requested attributes are returned, and Specific Character Set where the
answer needs one; sequences have undefined length. Date and time are those of the facility's clock; Timezone Offset From UTC
is returned when asked for, or as the station is set.

Matching is case-sensitive, but for names (VR PN), where letters of either case match and any of the three component groups. Accents
are told apart. `*` alone is universal for every key. Several values in a key, parted by backslashes, match any of them. A
key we do not have, or do not match on, is returned with zero length and status FF01. Date and time as ranges, or a date and a range of times,
are one combined range. An identifier without any key has no match. The keys are in annex 8.1.

| Status | When |
|---|---|
| 0000 | all matches sent, or an identifier without any key |
| FF00, FF01 | a match; FF01: an optional key was not supported |
| FE00 | cancelled; the association goes on |
| A700 | over {worklist.MAX_MATCHES} matches (those are sent), {worklist.IDENTIFIER_CAP} bytes of identifier, or 5 s |
| A900 | the identifier cannot be read: impossible dates, two items in a sequence, an unknown character set |
| C001 | an error of ours |
| 0122, 0211 | another SOP class, another operation |

"""

_PERFORMED = f"""#### 4.2.7 SOP specific conformance: Modality Performed Procedure Step (SCP)

Every data set is stored as it came before it is read, and read in its own character set. Steps match the schedule by
SPS ID, else Requested Procedure ID, Study Instance UID or Accession Number. What matches nothing, names another patient
(Patient ID with its issuer; without one, name and birth date together) or an order that has ended, or was done on another
modality, is accepted and left to a person. A Patient ID of a merged record is the survivor's. Data sets may have
{mpps.DATA_SET_CAP} bytes.

* Unscheduled: a person matches the step to an order, or creates one under the Study Instance UID the modality made.
* Group (several items in the Scheduled Step Attributes Sequence): all procedures start and end together.
* Append (several steps for one scheduled step): the exam ends with the last that is in progress; at a station set so,
  only a technologist or other evidence ends it. Further steps of an exam that is not reported are added to it. Series and
  images are counted over all steps, each UID once.
* One procedure with scheduled steps on several modalities ends when all of them have.
* DISCONTINUED keeps its reason. By the site's rule the scheduled step goes back on the worklist, or the order ends. 110514
  (incorrect worklist entry selected) always puts it back, and its images wait for a person.
* An N-SET COMPLETED or DISCONTINUED without what a final state holds, or of attributes that were not created, is accepted
  and noted as a defect of the station; a station set to be strict is refused (0121, 0105).
* A person may set the final state of a step whose modality never will; later N-SETs are then refused with A710.
* Nothing is coerced.

| Status | When |
|---|---|
| 0000 | stored and applied |
| 0105 | an N-SET names an attribute that only an N-CREATE may give; at a strict station, one that was not created |
| 0106 | a status, date or time that cannot be, or text that is not of its character set |
| 0110 | the data set cannot be read, or an error of ours; with Error ID A710: the step is final |
| 0111 | the instance exists |
| 0112 | there is no such instance |
| 0117 | the SOP Instance UID is no UID |
| 0120, 0121 | an N-CREATE lacks a type 1 attribute, or its value; 0121 at a strict station, a final state its |
| 0213 | the data set is too large |
"""

_OTHERS = """
N-GET on the retrieve SOP class returns what was said of a step, in UTF-8, and its present status.

#### 4.2.8 SOP specific conformance: others

| Service | What is done | Statuses |
|---|---|---|
| Verification | answered | 0000 |
| Dose reports, key objects (C-STORE) | kept as they came; the dose is put to the exam, key images to its report; what fits no exam waits for a person | 0000, 0117, A700, A900, C000 |
| Instance Availability Notification (N-CREATE) | kept as it came; says which images of a step can be had | 0000, 0106, 0110, 0117, 0120, 0121, 0213 |
| Storage Commitment (N-EVENT-REPORT, we are the SCU) | what the archive committed itself to is noted with the report that was sent | 0000 |

### 4.3 Network interfaces

TCP/IP, IPv4 and IPv6, as the operating system provides them.

### 4.4 Configuration

| What | Where | Default |
|---|---|---|
| Our AE title | `RIS_AE_TITLE` | LIGHTBOX |
| Address in clear text | `run_dicom --listen`, `up --dicom` | 127.0.0.1:11112 |
| Address over TLS | `run_dicom --tls`, `up --dicom-tls` | off; 2762 by custom |
| Certificate, key, CA | `RIS_TLS_CERTIFICATE`, `RIS_TLS_KEY`, `RIS_TLS_CA`, or `--certificate --key --ca` | none |
| Stations: AE title, addresses, certificate, character set, what they are shown and never sent | page Stations | |
| Partners: AE title, address, what they are sent | `manage.py endpoint --protocol dicom`, page Partners | |

In production an address that is not loopback needs TLS, or `RIS_ALLOW_PLAIN=dicom`.

## 5 Media interchange

None.

## 6 Support of character sets

Requests and data sets in any set of PS3.3 C.12.1.1.2, with and without code extensions. Answers are UTF-8 (ISO_IR 192) where they need
more than ASCII, or in the set of the station that asks; letters it lacks lose their accent or become question marks.
Each message is read in its own set.

## 7 Security

Over TLS (PS3.15 B.12, BCP 195): TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only; whoever connects must show a
certificate that our CA has signed, and a station may be bound to one. Every query, every report and every refused
association is in the audit (DICOM PS3.15 A.5: 110112, 110111, 110113), without matching values.

## 8 Annexes

### 8.1 Modality Worklist: keys

| Tag | Attribute | VR | Matching |
|---|---|---|---|
"""

_STEP_ATTRIBUTES = """
### 8.2 Modality Performed Procedure Step: attributes

All attributes are kept. An N-CREATE must hold those of type 1; type 2 attributes may be missing. An N-SET may set attributes that
were not created, unless the station is set to be strict: then it is refused (0105), and so is an end without what it must hold (0121).

| Tag | Attribute | N-CREATE | N-SET |
|---|---|---|---|
"""

_ANNEXES = f"""
### 8.3 Private attributes and classes

None.

### 8.4 Coded terminology

Procedure and protocol codes are those of the site's catalogue. Discontinuation reasons are those of CID 9300; 110514 (incorrect worklist
entry selected) puts the step back on the worklist. Languages are those of CID 5000.

### 8.5 Without the database

The worklist is answered from a copy of the steps of the next days, at most {standin.REFRESH_SECONDS + 5:.0f} s old when the database went
away; Requested Procedure Comments and Comments on the Scheduled Procedure Step begin with its time, and so does the Error Comment of the final status.
N-CREATE and N-SET of performed steps are checked without the record, put on disk, answered 0000 and done in order, once, when the database
is back; what cannot be done then waits for a person. Copy and reports lie below `RIS_DATA`/dicom in files that only the service's own
user can read; they hold patient data and belong on an encrypted disk. C-STORE and other services are refused meanwhile.
"""


def conformance_statement() -> str:
    table = listener.services_described()
    return "".join((
        _OVERVIEW, _lines(_overview(table)), _IMPLEMENTATION,
        _lines(f"| {UID(uid).name} | {uid} |" for uid in association.TRANSFER_SYNTAXES), _SERVICES,
        _lines(_accepted(table)), _INITIATED, _lines(_initiated()), _WORKLIST, _PERFORMED, _OTHERS,
        _lines(_keys(WORKLIST, "")), _STEP_ATTRIBUTES, _lines(_step_attributes()), _ANNEXES,
    ))  # fmt: skip


def _lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _overview(table: Mapping[str, Service]) -> Iterator[str]:
    ours = {uid for uid, _, _ in INITIATED} | {uid for uid, service in table.items() if service.as_scu}
    provided = {uid for uid, service in table.items() if not service.as_scu}
    for uid in sorted(ours | provided, key=lambda uid: UID(uid).name):
        yield f"| {UID(uid).name} | {uid} | {'yes' if uid in ours else 'no'} | {'yes' if uid in provided else 'no'} |"


def _accepted(table: Mapping[str, Service]) -> Iterator[str]:
    for uid, service in table.items():
        operations = ", ".join(_OPERATIONS[one] for one in service.operations)
        role = "SCU" if service.as_scu else "SCP"
        yield f"| {UID(uid).name} | {uid} | {role} | {operations} | {service.data_set_cap or ''} |"


_SENT = {
    str(BasicTextSRStorage): "a report is signed, where the partner wants it as text",
    str(EncapsulatedPDFStorage): "a report is signed, where the partner wants it as it looks",
    str(KeyObjectSelectionDocumentStorage): "images are not to be used: rejection note",
}
#: What we propose ourselves: SOP class, operations, when.
INITIATED = (
    (scu.VERIFICATION, "C-ECHO", "an administrator tries a partner"),
    *(
        (uid, "C-STORE", "a report is released or signed")
        for uid, _ in scu.USUAL_CONTEXTS
        if uid != scu.COMMITMENT
    ),
    (scu.COMMITMENT, "N-ACTION", "an archive has taken an object, if the partner is set so"),
    (mpps.SOP_CLASS, "N-CREATE, N-SET", "a modality reported a step: forwarded byte for byte"),
    *((uid, "C-FIND", "images of an exam and its priors are looked for") for uid, _ in scu.FIND_CONTEXTS),
)


def _initiated() -> Iterator[str]:
    for uid, operations, when in INITIATED:
        yield f"| {UID(uid).name} | {uid} | {operations} | {when} |"


def _step_attributes() -> Iterator[str]:
    for tag in sorted(ONLY_CREATED):
        needed = "required" if tag in NEEDED else "accepted"
        yield f"| ({tag >> 16:04X},{tag & 0xFFFF:04X}) | {_name(tag)} | {needed} | refused |"
    yield f"| (0040,0252) | {_name(0x00400252)} | required: IN PROGRESS | IN PROGRESS, COMPLETED, DISCONTINUED |"
    yield "| | all others | accepted | accepted, replaces the former content whole |"


def _keys(known: Mapping[int, Attribute], nesting: str) -> Iterator[str]:
    for tag, attribute in sorted(known.items()):
        place = f"{nesting}({tag >> 16:04X},{tag & 0xFFFF:04X})"
        yield f"| {place} | {_name(tag)} | {attribute.vr} | {_MATCHING[attribute.match]} |"
        yield from _keys(attribute.item, nesting + ">")


def _name(tag: int) -> str:
    return dictionary_description(tag)
