"""Every right by name, and who holds it. What is not named here nobody may do."""

from ris.accounts.models import Role, User
from ris.core.errors import NotAllowed

_DESK, _TECH, _RAD, _RES = Role.FRONTDESK, Role.TECHNOLOGIST, Role.RADIOLOGIST, Role.RESIDENT
_BILL, _MAN, _ADM, _REF, _SYS = Role.BILLER, Role.MANAGER, Role.ADMINISTRATOR, Role.REFERRER, Role.SYSTEM

_CLINICAL = {_DESK, _TECH, _RAD, _RES, _MAN}
_READERS = {_RAD, _RES}

RIGHTS: dict[str, frozenset[str]] = {
    name: frozenset(str(role) for role in roles)
    for name, roles in {
        "home.view": set(Role) - {_SYS},
        "patient.view": {*_CLINICAL, _BILL},
        "patient.register": {_DESK, _TECH, _MAN, _SYS},
        "patient.update": {_DESK, _TECH, _MAN, _SYS},
        "patient.merge": {_DESK, _MAN, _SYS},
        "order.view": {*_CLINICAL, _BILL, _REF},
        "order.place": {_DESK, _TECH, _RAD, _MAN, _REF, _SYS},
        "order.change": {_DESK, _TECH, _RAD, _MAN, _SYS},
        "order.cancel": {_DESK, _TECH, _RAD, _MAN, _SYS},
        "order.map_procedure": {_DESK, _MAN, _SYS},
        "protocol.view": _CLINICAL,
        "protocol.decide": _READERS,
        "supply.view": {_TECH, _MAN, _ADM},
        "supply.change": {_TECH, _MAN},
        "supply.give": {_TECH, _RAD, _RES, _MAN},
        "supply.override": {_RAD, _MAN},
        "supply.recall": {_TECH, _RAD, _MAN, _ADM},
        "schedule.view": _CLINICAL,
        "appointment.book": {_DESK, _TECH, _MAN, _SYS},
        "appointment.change": {_DESK, _TECH, _MAN, _SYS},
        "appointment.check_in": {_DESK, _TECH, _MAN, _SYS},
        "schedule.block": {_DESK, _MAN, _TECH},
        "schedule.overbook": {_MAN, _SYS},
        "schedule.outside_hours": {_MAN},
        "safety.view": _CLINICAL,
        "safety.screen": {_DESK, _TECH, _RAD, _RES, _MAN},
        "safety.review": {_TECH, _RAD, _RES, _MAN},
        "safety.note": {_DESK, _TECH, _RAD, _RES, _MAN, _SYS},
        "safety.clear": {_RAD},
        "safety.change": {_ADM, _MAN},
        "exam.view": _CLINICAL,
        "exam.perform": {_TECH, _MAN, _SYS},
        "exam.talk": {_TECH, _RAD, _RES, _MAN},
        "exam.reconcile": {_TECH, _MAN, _ADM},
        "radar.view": {*_CLINICAL, _ADM},
        "report.view": {*_CLINICAL, _BILL, _REF},
        "report.write": _READERS,
        "report.preliminary": _READERS,
        "report.sign": {_RAD},
        "charge.view": {_BILL, _MAN},
        "charge.capture": {_BILL, _MAN, _SYS},
        "charge.change": {_BILL, _SYS},
        "message.view": {_ADM, _MAN},
        "message.act": {_ADM},
        "message.reveal": {_ADM, _MAN},
        "case.settle": {_ADM, _MAN},
        "endpoint.change": {_ADM},
        "department.view": {_ADM, _MAN},
        "department.change": {_ADM},
        "user.view": {_ADM},
        "user.change": {_ADM},
        "audit.view": {_ADM, _MAN},
    }.items()
}


def allowed(by: object, right: str) -> bool:
    """Whether `by` holds `right`. An unknown right is a mistake in the code, not a refusal."""
    holders = RIGHTS[right]
    return isinstance(by, User) and by.is_active and not holders.isdisjoint(map(str, by.roles))


def require(by: object, right: str) -> None:
    """Raise NotAllowed unless `by` holds `right`."""
    if not allowed(by, right):
        who = ", ".join(Role(role).label.lower() for role in sorted(RIGHTS[right]) if role != Role.SYSTEM)
        raise NotAllowed(f"Your role does not allow this. These roles can: {who}.")
