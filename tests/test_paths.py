"""Paths of fields whose keys have dots, quotes, or nothing in them."""

import pytest

from fanfold import documents
from fanfold.errors import FanfoldError, SpecError
from fanfold.manifest import Manifest
from fanfold.spec.model import parse_spec
from fanfold.spec.paths import way_of, written
from tests.conftest import MakeFeed


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("customer.id", ("customer", "id")),
        ('"order.items".sku', ("order.items", "sku")),
        ('a."b.c"."."', ("a", "b.c", ".")),
        ('""', ("",)),
        ('a."".b', ("a", "", "b")),
        ('"""quoted"""', ('"quoted"',)),
        ('in"side', ('in"side',)),
    ],
)
def test_a_path_has_one_form(path: str, way: tuple[str, ...]) -> None:
    """A path gives its keys, and the keys give the path."""
    assert way_of(path) == way
    assert written(way) == path


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", '"a', '"a"b', 'a."b', '"a".'])
def test_a_path_of_another_form_is_an_error(path: str) -> None:
    """An empty key, and a double quote that does not close, are refused."""
    with pytest.raises(SpecError, match=r"f\.yaml:3: denormalize\.explode\.0: .* expected keys joined by dots"):
        parse_spec(f"version: 1\nname: f\ndenormalize: {{explode: ['{path}']}}\n", "f.yaml")


@pytest.mark.parametrize("fields", ["a: BIGINT, '\"a\"': VARCHAR", "a.b: JSON, 'a.\"b\"': DATE"])
def test_a_field_is_declared_once_in_whatever_form(fields: str) -> None:
    """Two spellings of one path are two types for one field: an error, and not the last one of them."""
    with pytest.raises(SpecError, match=r"f\.yaml:3: input\.fields: found .*, expected each path once"):
        parse_spec(f"version: 1\nname: f\ninput: {{fields: {{{fields}}}}}\n", "f.yaml")


RECORDS = [{"a.b": 7, "k.1": "z", "order.items": [{"x.y": 1.5, "s": {"id.": "q"}}, {"x.y": 2}], "": 3, '"': None}]
SPEC = {
    "subdirs": 1,
    "merge": [
        {"reference": "c.csv", "key": {"record": '"order.items".s."id."', "reference": "id."}, "into": "c"},
        {"reference": "d.csv", "key": '"k.1"', "into": "d"},
    ],
    "denormalize": {"explode": ['"order.items"']},
    "verify": {"totals": ['"order.items"."x.y"', '"a.b"']},
}


@pytest.mark.parametrize("mode", ["infer", "declared"])
def test_every_key_of_the_spec_takes_such_paths(make_feed: MakeFeed, mode: str) -> None:
    """Declared, exploded, joined and totalled fields may have dots in their keys."""
    fields = {
        '"a.b"': "BIGINT",
        '"order.items"."x.y"': "DECIMAL(9,2)",
        '"order.items".s."id."': "VARCHAR",
        '"k.1"': "VARCHAR",
    }
    feed = make_feed({"a.json": RECORDS}, **SPEC, input={"schema": mode, "fields": fields})
    (feed.data_dir / "c.csv").write_text("id.,n\nq,N\n")
    (feed.data_dir / "d.csv").write_text("k.1,n\nz,M\n")
    summary = feed.run()
    names, *rows = feed.read().splitlines()
    assert summary.rows_out == 2
    assert names.startswith("a.b,order.items_x.y,order.items_s_id.,k.1,")
    assert [row.split(",")[:4] for row in rows] == [["7", "1.50", "q", "z"], ["7", "2.00", "", "z"]]
    assert ("N" in rows[0], "N" in rows[1], "M" in rows[1]) == (True, False, True)
    totals = documents.read(feed.at().commit_path, Manifest).totals
    assert totals == {'"order.items"."x.y"': "3.5", '"a.b"': "7"}
    assert not feed.audit().findings


def test_a_message_shows_the_form_that_the_spec_takes(make_feed: MakeFeed) -> None:
    """A path whose key has a dot, written without quotes, is told its right form."""
    feed = make_feed({"a.json": [{"order.items": [1]}]}, **{**SPEC, "merge": [], "verify": {}})
    feed.write_spec(denormalize={"explode": ["order.items"]})
    with pytest.raises(FanfoldError, match=r"did you mean '\"order\.items\"'"):
        feed.run()
