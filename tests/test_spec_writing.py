"""Writing into a spec: `plan --write-fields` adds what is missing, and what a person wrote stays."""

import difflib
from pathlib import Path

import pytest

from fanfold.spec.model import load_spec
from fanfold.spec.writing import add_fields
from tests.conftest import MakeFeed, tree
from tests.test_cli import fanfold

FOUND = {"id": "BIGINT", "items.price": "DECIMAL(18,2)", "true": "BOOLEAN", 'a"b\n\u00e9 c': "VARCHAR", "7": "JSON"}
HEAD = "version: 1\nname: x\n"
SPECS = {
    "no input": HEAD,
    "no line end": HEAD.removesuffix("\n"),
    "no input, an end of the document": f"---\n{HEAD}...\n",
    "all in braces": "{version: 1, name: x}\n",
    "all in braces, over lines": "{\n  version: 1,  # first\n  name: x,\n}\n",
    "input in braces": f"{HEAD}input: {{settle_seconds: 0}}  # at once\nsubdirs: 2\n",
    "input empty": f"{HEAD}input: {{}}\nsubdirs: 2\n",
    "input": f"{HEAD}input:\n    # four blanks\n    settle_seconds:   0x0   # at once\n\n# the rest\nsubdirs: 2\n",
    "input ends in a list": f"{HEAD}input:\n  patterns:\n  - \"*.json\"   # only these\n  - '*.x'\n\nsubdirs: 2\n",
    "fields": f"{HEAD}input:\n  fields:\n    # by hand\n    'id': varchar    # a text\n\n    gone: DATE\nsubdirs: 2\n",
    "fields first": f"{HEAD}input:\n  fields:\n      gone: DATE\n  # of the input\n  settle_seconds: 1\n",
    "fields in braces": f"{HEAD}input:\n  fields: {{gone: DATE, id: VARCHAR, }}  # two\n  settle_seconds: 1\n",
    "fields in braces, over lines": f"{HEAD}input:\n  fields: {{\n    gone: DATE  # no comma\n  }}\n",
    "fields empty": f"{HEAD}input:\n  fields: {{}}\n",
    "other line ends": HEAD.replace("\n", "\r\n") + "input:\r\n  settle_seconds: 0\r\n",
    "a mark of the byte order": f"\ufeff{HEAD}input:\n  settle_seconds: 0\nsubdirs: 2\n",
    "a text of lines": "version: 1\ninput:\n  settle_seconds: 0\n  path: >-\n    in\nname: x\n",
}


@pytest.mark.parametrize("spec", SPECS)
def test_what_a_person_wrote_stays(tmp_path: Path, spec: str) -> None:
    """Whatever a spec looks like, each of its characters stays; declared fields and their types win, others follow."""
    path = tmp_path / "s.yaml"
    path.write_bytes(SPECS[spec].encode())
    path.chmod(0o640)
    before = load_spec(path)
    declared = before.input.fields
    added = {name: kind for name, kind in FOUND.items() if name not in declared}
    assert add_fields(path, FOUND) == len(added)
    after = load_spec(path)
    assert list(after.input.fields.items()) == [*declared.items(), *added.items()]
    assert after.input.model_copy(update={"fields": declared}) == before.input
    assert after.model_copy(update={"input": before.input}) == before
    written = path.read_bytes().decode()
    steps = {step for step, *_ in difflib.SequenceMatcher(None, SPECS[spec], written, autojunk=False).get_opcodes()}
    assert steps <= {"equal", "insert"}
    assert path.stat().st_mode & 0o777 == 0o640
    assert add_fields(path, FOUND) == 0
    assert path.read_bytes().decode() == written


def test_a_link_to_a_spec_stays_a_link(tmp_path: Path) -> None:
    """A spec that is a link is written where it lies."""
    (tmp_path / "real.yaml").write_text(HEAD, encoding="utf-8")
    (tmp_path / "s.yaml").symlink_to("real.yaml")
    assert add_fields(tmp_path / "s.yaml", FOUND) == len(FOUND)
    assert (tmp_path / "s.yaml").readlink() == Path("real.yaml")
    assert load_spec(tmp_path / "real.yaml").input.fields == FOUND


def test_nothing_ready_writes_nothing(make_feed: MakeFeed) -> None:
    """Without a file that is ready `plan --write-fields` writes nothing, and says so."""
    feed = make_feed(input={"fields": {"id": "BIGINT"}})
    before = tree(feed.spec_path.parent)
    done = fanfold("plan", feed.spec_path, "--write-fields")
    assert done.returncode == 0
    assert done.stderr == f"{feed.spec_path}: 0 fields added to input.fields: no file is ready\n"
    assert tree(feed.spec_path.parent) == before


def test_declared_fields_that_did_not_occur_stay(make_feed: MakeFeed) -> None:
    """`plan --write-fields` keeps what is declared and did not occur today, and the types that a person chose."""
    feed = make_feed({"a.json": [{"id": 7, "new": 1}]})
    feed.write_spec(merge=[], denormalize={}, input={"fields": {"coupon": "VARCHAR", "id": "VARCHAR"}})
    done = fanfold("plan", feed.spec_path, "--write-fields")
    assert (done.returncode, done.stderr) == (0, f"{feed.spec_path}: 1 field added to input.fields\n")
    declared = load_spec(feed.spec_path).input.fields
    assert list(declared.items()) == [("coupon", "VARCHAR"), ("id", "VARCHAR"), ("new", "BIGINT")]
