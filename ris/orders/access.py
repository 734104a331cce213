"""The one way to fetch an order for a user."""

from django.db.models import QuerySet

from ris.accounts.models import Role, User
from ris.accounts.permissions import allowed, require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.orders.models import Order
from ris.patients.access import patient_for
from ris.patients.actions import survivor
from ris.patients.models import Patient


def orders_for(user: User) -> QuerySet[Order]:
    """The orders `user` may see: a referrer's own, for everybody else all."""
    require(user, "order.view")
    orders = Order.objects.select_related("patient", "facility", "ordering", "visit").prefetch_related(
        "procedures__procedure_type", "patient__identifiers"
    )
    if set(user.roles) == {Role.REFERRER}:
        return orders.filter(ordering__user=user)
    return orders


def order_for(user: User, pk: int) -> Order:
    """The order, with the look noted. Raises NotAllowed, or NotFound for absent and hidden alike."""
    order = orders_for(user).filter(pk=pk).first()
    if order is None:
        raise NotFound("There is no such order.")
    record_access(user, "order.view", patient=order.patient_id, subject=order.accession_number)
    return order


def patient_to_order_for(user: User, pk: int) -> Patient:
    """The patient an order is placed for, with the look noted: for a referrer one of those they ordered for before."""
    require(user, "order.place")
    if allowed(user, "patient.view"):
        return survivor(patient_for(user, pk))
    order = orders_for(user).filter(patient=pk).first()
    if order is None:
        raise NotFound("There is no such patient.")
    record_access(user, "patient.view", patient=pk)
    return order.patient
