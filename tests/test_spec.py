"""The spec: its errors, its defaults, the paths that it may lead to."""

import json
import os
import re
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from fanfold.errors import MissingError, PathError, SpecError
from fanfold.feed import runs
from fanfold.spec import yaml_file
from fanfold.spec.model import Spec, json_schema, load_spec
from fanfold.steps.start import start
from tests.conftest import MakeFeed


def errors_of(folder: Path, text: str | bytes) -> list[str]:
    path = folder / "s.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    return str(caught.value).replace(str(path), "s.yaml").split("\n")


MANY = """\
version: 2
name: bad name
subdirs: 0
inptu: {}
input:
  pattern: ["*.json"]
  settle_seconds: soon
merge:
  - reference: /etc/passwd
    key: customer_id
    into: a.b
    on_mising: keep
  - reference: b.csv
    key: {record: a, refrence: b}
    into: c
denormalize:
  explode: [a, b]
output: {path: ../out}
name: again
"""


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    """Every error of a spec is told in one go: file, line, path, what was found and expected, the nearest name."""
    found = errors_of(tmp_path, MANY)
    expected = [
        ("s.yaml:1: version: found 2, expected 1", ""),
        ("s.yaml:3: subdirs: found 0, expected", "1"),
        ("s.yaml:4: inptu: unknown key 'inptu', did you mean 'input'?", ""),
        ("s.yaml:6: input.pattern: unknown key 'pattern', did you mean 'patterns'?", ""),
        ("s.yaml:7: input.settle_seconds: found 'soon', expected", "number"),
        ("s.yaml:9: merge.0.reference: found '/etc/passwd', expected a relative path inside data_dir", ""),
        ("s.yaml:11: merge.0.into: found 'a.b', expected", ""),
        ("s.yaml:12: merge.0.on_mising: unknown key 'on_mising', did you mean 'on_missing'?", ""),
        ("s.yaml:14: merge.1.key.reference: found nothing, expected a value", ""),
        ("s.yaml:14: merge.1.key.refrence: unknown key 'refrence', did you mean 'reference'?", ""),
        ("s.yaml:16: denormalize: found {'explode': ['a', 'b']}, expected arrays each inside the one", ""),
        ("s.yaml:18: output.path: found '../out', expected a relative path inside data_dir", ""),
        ("s.yaml:19: name: found twice, expected once", ""),
    ]
    for line, (opening, inside) in zip(found, expected, strict=True):
        assert line.startswith(opening)
        assert inside in line


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("name: x\n", "s.yaml:1: version: found nothing, expected a value"),
        ("version: 1\nname: x\nsubdirs: '5'\n", "s.yaml:3: subdirs: found '5', expected"),
        ("version: 1\nname: x\nsubdirs: true\n", "s.yaml:3: subdirs: found True, expected"),
        ("version: 1\nname: a b\n", "s.yaml:2: name: found 'a b', expected 1 to 100 letters, digits,"),
        (
            "version: 1\nname: x\ninput: {done_suffix: a/b}\n",
            "s.yaml:3: input.done_suffix: found 'a/b', expected the end",
        ),
        ("version: 1\nname: x\nnotify:\n  above_files: -1\n", "s.yaml:4: notify.above_files: found -1, expected"),
        ("version: 1\nname: x\narchive: {path: staging/x}\n", "s.yaml:1: archive.path 'staging/x' overlaps"),
        ("version: 1\nname: x\noutput: {path: transactions}\n", "s.yaml:1: output.path 'transactions' overlaps"),
        ("version: 1\nname: x\ninput:\n  path: a\n  path: b\n", "s.yaml:5: input.path: found twice, expected once"),
        ("version: 1\nname: x\n1: 2\n", "s.yaml:3: 1: "),
        ("version: 1\nname: [\n", "s.yaml:3: "),
        ("version: 1\nname: !!python/object:os.x {}\n", "s.yaml:2: "),
        ("\tversion: 1\n", "s.yaml:1: found character that cannot start any token, expected YAML"),
        ("- version\n", "s.yaml:1: found list, expected a mapping"),
        (b"version: 1\nname: \xff\n", r"s.yaml:2: b'\xff' is not UTF-8, expected a YAML text"),
        ("version: 1\nname: x\nmerge: &a [*a]\n", "s.yaml:"),
    ],
)
def test_an_error_is_placed(tmp_path: Path, text: str | bytes, error: str) -> None:
    """One error is one line, at the line of the file where it is."""
    found = errors_of(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(error)


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_spec_says_what_is_expected(tmp_path: Path, text: str) -> None:
    """An empty file is told as one that lacks everything."""
    assert errors_of(tmp_path, text) == ["s.yaml:1: found nothing, expected a mapping with version, name, input, …"]


def test_two_references_need_two_names(tmp_path: Path) -> None:
    """References that nest under one name are refused."""
    one = {"reference": "a.csv", "key": "a", "into": "c"}
    assert errors_of(tmp_path, f"version: 1\nname: x\nmerge: [{one}, {one}]\n") == [
        "s.yaml:1: merge: into 'c' is used twice, expected another name for each reference"
    ]


def test_a_missing_spec_is_named(tmp_path: Path) -> None:
    """A path without a file, and a directory, are not a spec."""
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(MissingError, match=r"is not a file, expected the spec of a feed \(YAML\)"):
            load_spec(path)


def test_defaults(tmp_path: Path) -> None:
    """Two lines are a spec, with the documented defaults, and nobody can change it."""
    (tmp_path / "s.yaml").write_text("version: 1\nname: x\n", encoding="utf-8")
    spec = load_spec(tmp_path / "s.yaml")
    assert spec == Spec(version=1, name="x", data_dir=str(tmp_path / "data"))
    assert (spec.subdirs, spec.concurrent_tasks, spec.merge, spec.denormalize.explode) == (5, 5, [], [])
    assert (spec.input.path, spec.output.path, spec.archive.path) == ("transactions", "denormalized", "processed")
    assert (spec.input.settle_seconds, spec.input.wait_seconds, spec.input.poll_seconds) == (2, 300, 5)
    with pytest.raises(ValueError, match="frozen"):
        spec.subdirs = 6  # type: ignore[misc]


def test_the_schema_names_every_key() -> None:
    """The JSON Schema has a description for every key, so that editors can show it."""
    schema = json_schema()
    models: list[dict[str, Any]] = [schema, *schema["$defs"].values()]
    assert set(schema["properties"]) == set(Spec.model_fields)
    for model in models:
        for key, described in model["properties"].items():
            assert "description" in described or "$ref" in described, key


ACCEPTED: list[dict[str, Any]] = [
    {},
    {"input": {"path": "./a//b/.c/...d", "fields": {"a.b": "decimal( 38 , 4 )", "c": " Json "}}},
    {"input": {"records_at": "/a~1b//c~0", "schema": "declared", "done_suffix": ".done"}},
    {"merge": [{"reference": "c.csv", "key": "a.b", "into": "c", "columns": ["x"]}]},
    {"denormalize": {"explode": ["a", "a.b"], "columns": ["a", "", {"b": "a + 1"}]}, "subdirs": 1000},
    *(
        {"input": {"patterns": patterns, "csv": {"delimiter": ";"}, "encoding": "latin-1"}}
        for patterns in (["*.CSV"], ["*.json", "o*"], ["*.csv.gz"], ["*.zip"], ["*.tar.zst"], ["*.gz"], ["*.[ct]sv"])
    ),
    {"input": {"csv": {}}, "merge": [{"reference": "c.Csv.GZ", "key": "a", "into": "b", "csv": {}}]},
    {"input": {"patterns": ["*.csv", "*.json"], "records_at": "/a"}, "output": {"format": "csv", "csv": {}}},
    {"merge": [{"reference": "c.json", "key": "a", "into": "b", "encoding": "latin-1"}]},
]
REFUSED: list[dict[str, Any]] = [
    {"version": 2},
    {"subdirs": 0},
    {"subdirs": "5"},
    {"name": "a b"},
    {"inptu": {}},
    {"data_dir": "a\0b"},
    *(
        {"input": {"path": path}}
        for path in ("", ".", "./", "/a", "..", "a/..", "../a", "a/../b", "a\0", "a" * 4097, 1)
    ),
    *({"input": {"fields": {path: "JSON"}}} for path in ("", ".", "a.", ".a", "a..b")),
    *({"input": {"fields": {"a": kind}}} for kind in ("INT", "", "DECIMAL", "DECIMAL(39,0)", "DECIMAL(0,0)", 5)),
    *({"input": {"records_at": pointer}} for pointer in ("a", "/~", "/~2")),
    {"input": {"patterns": []}},
    {"input": {"schema_mode": "infer"}},
    {"input": {"done_suffix": "a/b"}},
    {"merge": [{"reference": "c.csv", "key": "a"}]},
    {"merge": [{"reference": "c.csv", "key": "a", "into": "b.c"}]},
    {"merge": [{"reference": "c.csv", "key": {"record": "a.", "reference": "b"}, "into": "b"}]},
    {"denormalize": {"columns": []}},
    *({"denormalize": {"columns": [column]}} for column in (5, {}, {"": "1"}, {"a": ""}, {"a": "1", "b": "2"})),
    {"quarantine": {"max_bad_records_percent": 101}},
    *(
        {"input": {"patterns": patterns, "csv": {}}}
        for patterns in (["*.json"], ["*.Parquet"], ["*.txt"], ["a.jsonl.gz", "*.ndjson"], ["*.csv.parquet"])
    ),
    {"input": {"patterns": ["*.parquet"], "encoding": "utf-8"}},
    {"input": {"records_at": "/a", "patterns": ["*.csv.gz", "*.parquet"]}},
    {"output": {"csv": {"delimiter": ";"}, "format": "parquet"}},
    *({"merge": [{"reference": name, "key": "a", "into": "b", "csv": {}}]} for name in ("c", "c.json", "c.csv.zip")),
    {"merge": [{"reference": "c.parquet", "key": "a", "into": "b", "encoding": "cp1252"}]},
]


@pytest.mark.parametrize(("keys", "is_good"), [*((one, True) for one in ACCEPTED), *((one, False) for one in REFUSED)])
def test_the_schema_refuses_what_lint_refuses(tmp_path: Path, keys: dict[str, Any], is_good: bool) -> None:  # noqa: FBT001
    """What is wrong with one key of a spec is seen by an editor that has the JSON Schema, and by lint in one line."""
    spec = {"version": 1, "name": "x", **keys}
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(spec) == is_good
    text = json.dumps(spec)
    if is_good:
        (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
        assert load_spec(tmp_path / "s.yaml").subdirs == keys.get("subdirs", 5)
    else:
        assert len(errors_of(tmp_path, text)) == 1


def test_a_key_that_does_nothing_is_told_with_the_other_errors(tmp_path: Path) -> None:
    """A key that has no effect where it stands is an error of its line; a spec that was kept with it is still read."""
    text = "version: 1\nname: x\noutput:\n  format: parquet\n  csv: {bom: true}\nsubdirs: 0\n"
    assert errors_of(tmp_path, text) == [
        "s.yaml:5: output.csv: found {'bom': True}, expected no such key: it does nothing beside format 'parquet'",
        "s.yaml:6: subdirs: found 0, expected at least 1",
    ]
    kept = Spec.model_validate_json(
        '{"version": 1, "name": "x", "output": {"format": "parquet", "csv": {"bom": true}}}'
    )
    assert kept.output.csv.bom


def test_a_scale_is_at_most_the_precision(tmp_path: Path) -> None:
    """A DECIMAL has no more digits behind its point than in all."""
    text = "version: 1\nname: x\ninput: {fields: {a: 'decimal(2, 3)'}}\n"
    assert errors_of(tmp_path, text) == [
        "s.yaml:3: input.fields.a: found 'decimal(2, 3)', expected a DECIMAL(p,s) whose s is at most p"
    ]


@pytest.mark.parametrize("data_dir", ["../data", "/", "data/../../elsewhere", "link"])
def test_data_dir_stays_inside_the_roots(make_feed: MakeFeed, tmp_path: Path, data_dir: str) -> None:
    """Another data_dir than the spec's must lie in the spec's folder, `..` and links do not lead out of it."""
    feed = make_feed()
    (feed.spec_path.parent / "link").symlink_to(tmp_path)
    with pytest.raises(PathError, match="outside the allowed roots, expected a path under") as caught:
        runs.open_feed(feed.spec_path, data_dir)
    assert repr(str(feed.spec_path.parent.resolve())) in str(caught.value)


@pytest.mark.parametrize(
    "folder", ["transactions", "processed", "denormalized", "staging", ".fanfold", "customers.csv"]
)
def test_links_in_data_dir_do_not_lead_out(make_feed: MakeFeed, tmp_path: Path, folder: str) -> None:
    """A folder of the feed that is a link to elsewhere is refused at the start."""
    feed = make_feed()
    path = feed.data_dir / folder
    if path.exists():
        path.rename(tmp_path / folder)
    path.symlink_to(tmp_path / folder)
    with pytest.raises(PathError, match="outside the allowed roots"):
        start(feed.spec_path)


def test_links_inside_of_the_roots_are_fine(make_feed: MakeFeed) -> None:
    """A link that stays inside of the roots is followed, and data_dir is what it leads to."""
    feed = make_feed({"a.json": [{"customer_id": "1", "items": []}]})
    (feed.spec_path.parent / "link").symlink_to("data")
    assert runs.open_feed(feed.spec_path, "link/../link").data_dir == feed.data_dir.resolve()


def test_roots_of_the_environment_count(make_feed: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FANFOLD_ALLOWED_ROOTS replaces the spec's own folder: what it names is allowed, and nothing else."""
    feed = make_feed()
    (tmp_path / "other" / "transactions").mkdir(parents=True)
    monkeypatch.setenv("FANFOLD_ALLOWED_ROOTS", f"{tmp_path / 'other'}:{tmp_path / 'third'}")
    assert runs.open_feed(feed.spec_path, tmp_path / "other").data_dir == (tmp_path / "other").resolve()
    with pytest.raises(PathError, match=r"third.*\(FANFOLD_ALLOWED_ROOTS\)"):
        runs.open_feed(feed.spec_path)


# What YAML means, and what it may cost.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("+7", 7), ("1_000", "1_000"), ("0b11", "0b11"), ("08", 8),
        ("1:30", "1:30"), ("190:20:30", "190:20:30"), ("2026-01-02", "2026-01-02"),
        ("2026-01-02T09:15:00Z", "2026-01-02T09:15:00Z"),
        *((word, word) for word in ("yes", "No", "on", "OFF", "y", "n", "tRUE", "nULL", "=")),
        ("true", True), ("FALSE", False), ("~", None), ("null", None), ("", None),
        ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-.INF", float("-inf")), ("1.5.2", "1.5.2"), ("0o8", "0o8"),
        ("'010'", "010"), ('"yes"', "yes"), ('"null"', "null"), ("9" * 101, "9" * 101), ("1\n  2", "1 2"),
    ],
)  # fmt: skip
def test_yaml_means_what_yaml_1_2_says(text: str, value: Any) -> None:
    """A plain value of a spec is what the core schema of YAML 1.2 says: no octal by a zero, no times, no `yes`."""
    found = yaml_file.parse(f"a: {text}\n", "s.yaml").value["a"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: 1\nb: &x [1]\n", "s.yaml:2: found the anchor 'x', expected YAML without one"),
        ("a: 1\nb: *x\n", "s.yaml:2: found the alias 'x', expected YAML without one"),
        ("a: !!str 010\n", "s.yaml:1: found the tag 'tag:yaml.org,2002:str', expected YAML without one"),
        ("--- 1\n--- 2\n", "s.yaml:2: found another document, expected YAML"),
    ],
)
def test_what_no_spec_needs_is_refused(text: str, error: str) -> None:
    """A spec is one document that says what it means: anchors, aliases and tags are errors, at their line."""
    with pytest.raises(SpecError) as caught:
        yaml_file.parse(text, "s.yaml")
    assert str(caught.value) == error


HEAD = "version: 1\nname: x\n"
NINE = ",".join(["*a{}"] * 9)
ATTACKS: dict[str, str | bytes] = {
    "a huge file": "#" * 50_000_000,
    "many brackets": "a: " + "[" * 5_000,
    "many braces": "{a: " * 100_000,
    "many dashes": "- " * 500_000,
    "many unknown keys": HEAD + "".join(f"k{n}: 1\n" for n in range(100_000)),
    "many documents": "---\n" * 200_000,
    "a billion laughs": "a0: &a0 lol\n" + "".join(f"a{n}: &a{n} [{NINE.format(*[n - 1] * 9)}]\n" for n in range(1, 12)),
    "one long text, many times": f"{HEAD}a: &a {'x' * 500_000}\nb: [{'*a,' * 100_000}]\n",
    "a list of itself": f"{HEAD}merge: &a [*a]\n",
    "a mapping merged into itself": f"{HEAD}input: &a {{<<: *a}}\n",
    "merged again and again": "a0: &a0 {x: 1, y: 2}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{NINE.format(*[n - 1] * 9)}]}}\n" for n in range(1, 12)),
    "an object of Python": f"{HEAD}data_dir: !!python/object/apply:os.abort []\n",
    "a long number": f"version: {'9' * 100_000}\nname: x\n",
    "a long hexadecimal number": f"version: 0x{'f' * 900_000}\nname: x\n",
    "a long text": f"{HEAD}data_dir: {'d' * 1_000_000}\n",
    "a long key": f"{HEAD}? {'d' * 1_000_000}\n: 1\n",
    "a key of two lines": f'{HEAD}"a\\nb": 1\n',
    "a list as a key": f"{HEAD}? [a]\n: 1\n",
    "a NUL": f"{HEAD}a: \0\n",
    "a NUL in a path": f'{HEAD}data_dir: "a\\0b"\n',
    "a long tag": "!" * 100_000,
    "UTF-16": HEAD.encode("utf-16"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_spec_that_attacks_is_one_short_line(tmp_path: Path, attack: str) -> None:
    """A spec that is made to take time or memory ends in one short line that names file and line, and takes neither."""
    text = ATTACKS[attack]
    path = tmp_path / "s.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    tracemalloc.start()
    with pytest.raises(SpecError, match=rf"^{re.escape(str(path))}:\d+: ") as caught:
        load_spec(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1_000


def test_of_many_errors_the_first_are_told(tmp_path: Path) -> None:
    """Of ten thousand errors the first twenty are told, by their lines, and how many more there are."""
    found = errors_of(tmp_path, HEAD + "".join(f"k{n}: 1\n" for n in range(10_000)))
    assert [line.split(":")[1] for line in found[:-1]] == [str(n) for n in range(3, 23)]
    assert found[-1] == "s.yaml: and 9,980 more errors"


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket", "zeros", "link to itself", "long name"])
def test_only_a_regular_file_is_read(tmp_path: Path, kind: str) -> None:
    """What is not a regular file is not a spec: it is told at once, and nothing is read of it."""
    path = tmp_path / "s.yaml"
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        case "zeros":
            path = Path("/dev/zero")
        case "link to itself":
            path.symlink_to(path)
        case "long name":
            path = tmp_path / ("s" * 5_000)
    with pytest.raises(MissingError, match=r"is not a file, expected the spec of a feed \(YAML\)"):
        load_spec(path)
