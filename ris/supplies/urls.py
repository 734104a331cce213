from django.urls import path

from ris.supplies import views

urlpatterns = [
    path("supplies", views.stock, name="stock"),
    path("supplies/receive", views.receive, name="stock_receive"),
    path("supplies/lots/<int:pk>/<slug:act>", views.lot_act, name="lot_act"),
    path("admin/items", views.items, name="admin_items"),
    path("admin/items/new", views.item, name="admin_item_new"),
    path("admin/items/<int:pk>", views.item, name="admin_item"),
]
