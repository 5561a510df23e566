"""The spec: its errors, its defaults, the paths that it may lead to."""

from pathlib import Path
from typing import Any

import pytest

from fanfold import runs, steps
from fanfold.errors import MissingError, PathError, SpecError
from fanfold.spec import Spec, json_schema, load_spec
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
        ("s.yaml:16: denormalize: found {'explode': ['a', 'b']}, expected arrays each inside of the one", ""),
        ("s.yaml:18: output.path: found '../out', expected a relative path inside data_dir", ""),
        ("s.yaml:19: name: found twice, expected once", ""),
    ]
    for line, (start, inside) in zip(found, expected, strict=True):
        assert line.startswith(start)
        assert inside in line


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("name: x\n", "s.yaml:1: version: found nothing, expected a value"),
        ("version: 1\nname: x\nsubdirs: '5'\n", "s.yaml:3: subdirs: found '5', expected"),
        ("version: 1\nname: x\nsubdirs: true\n", "s.yaml:3: subdirs: found True, expected"),
        ("version: 1\nname: a b\n", "s.yaml:2: name: found 'a b', expected a text of the form"),
        ("version: 1\nname: x\nnotify:\n  above_files: -1\n", "s.yaml:4: notify.above_files: found -1, expected"),
        ("version: 1\nname: x\narchive: {path: staging/x}\n", "s.yaml:1: archive.path 'staging/x' overlaps"),
        ("version: 1\nname: x\noutput: {path: transactions}\n", "s.yaml:1: output.path 'transactions' overlaps"),
        ("version: 1\nname: x\ninput:\n  path: a\n  path: b\n", "s.yaml:5: input.path: found twice, expected once"),
        ("version: 1\nname: x\n1: 2\n", "s.yaml:3: 1: "),
        ("version: 1\nname: [\n", "s.yaml:3: "),
        ("version: 1\nname: !!python/object:os.x {}\n", "s.yaml:2: "),
        ("\tversion: 1\n", "s.yaml:1: found character that cannot start any token, expected YAML"),
        ("- version\n", "s.yaml:1: found list, expected a mapping"),
        (b"version: 1\nname: \xff\n", r"s.yaml:1: b'\xff' is no UTF-8, expected a YAML text"),
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
    assert errors_of(tmp_path, text) == ["s.yaml:1: found NoneType, expected a mapping with version, name, input, …"]


def test_two_references_need_two_names(tmp_path: Path) -> None:
    """References that nest under one name are refused."""
    one = {"reference": "a.csv", "key": "a", "into": "c"}
    assert errors_of(tmp_path, f"version: 1\nname: x\nmerge: [{one}, {one}]\n") == [
        "s.yaml:1: merge: into 'c' is used twice, expected a name of its own for each reference"
    ]


def test_a_missing_spec_is_named(tmp_path: Path) -> None:
    """A path without a file, and a directory, are no spec."""
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(MissingError, match=r"is no file, expected the spec of a feed \(YAML\)"):
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
        steps.start(feed.spec_path)


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
