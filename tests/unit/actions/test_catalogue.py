"""Which tables a list of names stands for."""

import pytest

from upkeep.actions.contract import ActionError
from upkeep.actions.postgres.catalogue import Catalogue, Table


def catalogue(*labels: str) -> Catalogue:
    """Plain tables by `schema|name`."""
    tables = (label.split("|") for label in labels)
    return Catalogue(
        {
            oid: Table(oid=oid, schema=schema, name=name, kind="r", parent=None)
            for oid, (schema, name) in enumerate(tables, start=1)
        }
    )


SHOP = catalogue("public|orders", "public|order_lines", "audit|orders", "audit|Log", "public|a.b", "public|we*ird")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["public.orders"], ["public.orders"]),
        (["orders"], ["public.orders", "audit.orders"]),
        (["audit.*"], ["audit.orders", "audit.Log"]),
        (["order*"], ["public.orders", "public.order_lines", "audit.orders"]),
        (["*.Log"], ["audit.Log"]),
        (["a.b"], ["public.a.b"]),
        (["public.a.b"], ["public.a.b"]),
        (["we*ird"], ["public.we*ird"]),
        (["orders", "public.orders", "order*"], ["public.orders", "public.order_lines", "audit.orders"]),
    ],
)
def test_a_name_stands_for_tables(names: list[str], expected: list[str]) -> None:
    assert [table.label for table in SHOP.matching(names)] == expected


def test_a_star_stands_for_all() -> None:
    assert len(SHOP.matching(["*"])) == 6


@pytest.mark.parametrize(
    "name", ["log", "Orders", "order", "public", "public.order?", "orders;", ".orders", "o[r]ders"]
)
def test_only_the_exact_spelling_counts(name: str) -> None:
    with pytest.raises(ActionError, match="there is no table"):
        SHOP.matching([name])


def test_the_nearest_names_are_told() -> None:
    with pytest.raises(ActionError, match=r"there is no table 'audit\.log': did you mean audit\.Log"):
        SHOP.matching(["audit.log"])


def test_partitions_belong_to_their_parents() -> None:
    # given events → events_2026 → events_2026_01, and a table beside
    tables = [
        Table(oid=1, schema="public", name="events", kind="p", parent=None),
        Table(oid=2, schema="public", name="events_2026", kind="p", parent=1),
        Table(oid=3, schema="public", name="events_2026_01", kind="r", parent=2),
        Table(oid=4, schema="public", name="orders", kind="r", parent=None),
    ]
    known = Catalogue({table.oid: table for table in tables})
    # then a parent stands for the tables that hold its rows, and covers its partitions
    assert [table.name for table in known.leaves(known.matching(["events"]))] == ["events_2026_01"]
    assert [table.name for table in known.topmost(known.matching(["*"]))] == ["events", "orders"]
    assert [table.name for table in known.topmost(known.matching(["events_2026*"]))] == ["events_2026"]
