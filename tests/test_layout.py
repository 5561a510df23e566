"""Paths and names of a run."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.archive_names import archived_name
from fanfold.errors import MissingError
from fanfold.layout import Feed, format_ts, parse_subdir, parse_ts
from fanfold.spec.model import Spec
from tests.conftest import TS

# A day from either end, so that every zone has the moment.
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - zones are given below
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
NAMES = st.from_regex(r"([a-z_]{1,3}/)?[a-z0-9_TZ-][a-z0-9_.TZ-]{0,8}(\.json|\.gz|\.zst)?", fullmatch=True)


@given(MOMENTS, ZONES)
def test_ts_is_reversible(moment: datetime, zone: timezone) -> None:
    """Every moment in every zone comes back from its name, and its name is that of the same moment in UTC."""
    local = moment.replace(tzinfo=zone)
    assert parse_ts(format_ts(local)) == local
    assert format_ts(local) == format_ts(local.astimezone(UTC))


@given(MOMENTS, MOMENTS)
def test_ts_is_unique(one: datetime, other: datetime) -> None:
    """Different moments have different names."""
    assert (format_ts(one) == format_ts(other)) == (one == other)


@pytest.mark.parametrize(
    "text",
    [
        "20260102T030405Z",
        "2026-01-02T03:04:05Z",
        "2026-01-02 03:04:05",
        "2026-01-02T04:04:05+01:00",
        " 20260102T030405.000000Z ",
    ],
)
def test_ts_takes_iso_forms(text: str) -> None:
    """Any ISO 8601 form of a moment names the same run."""
    assert format_ts(parse_ts(text)) == TS


def test_ts_keeps_microseconds() -> None:
    """Two runs within one second have two names."""
    assert format_ts(datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=UTC)) == "20260102T030405.000060Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "../..", "20260102T030405Z/1"])
def test_no_ts_is_refused(text: str) -> None:
    """What is no timestamp is named in the error, with the form that was expected."""
    with pytest.raises(MissingError, match="is not an execution timestamp, expected ISO 8601") as caught:
        parse_ts(text)
    assert str(caught.value).startswith(repr(text))


@pytest.mark.parametrize(
    ("name", "archived"),
    [
        ("a.json", f"a_{TS}.json"),
        ("a.json.gz", f"a_{TS}.json.gz"),
        ("sub/folder/a.b.ndjson.zst", f"sub/folder/a.b_{TS}.ndjson.zst"),
        ("a", f"a_{TS}"),
        ("a.gz", f"a_{TS}.gz"),
    ],
)
def test_archived_name(name: str, archived: str) -> None:
    """The timestamp stands before the suffixes, sub-folders stay."""
    assert archived_name(name, TS) == archived


@given(st.lists(NAMES, unique=True), MOMENTS)
def test_archived_names_stay_apart(names: list[str], moment: datetime) -> None:
    """Different names in landing are different names in the archive."""
    assert len({archived_name(name, format_ts(moment)) for name in names}) == len(names)


@pytest.mark.parametrize("subdir", ["", "staging", f"staging/{TS}", f"other/{TS}/1", f"staging/{TS}/x", "staging/x/1"])
def test_no_subdir_is_refused(subdir: str) -> None:
    """A group that is given another path than its subdirectory says so."""
    with pytest.raises(MissingError, match="expected"):
        parse_subdir(subdir)


def test_subdir_is_parsed() -> None:
    """A group's one parameter names its run and its number."""
    assert parse_subdir(f"staging/{TS}/12") == (TS, 12)


def test_a_group_names_its_files() -> None:
    """The files of one subdirectory are named by its group; those in quarantine never take a name of Fanfold's own."""
    run = Feed(Path("/data"), Spec(version=1, name="feed", subdirs=3)).run(TS)
    assert [group.subdir for group in run.groups] == [f"staging/{TS}/{n}" for n in (1, 2, 3)]
    group = run.group(2)
    assert group is run.groups[1]
    assert group.staged_path("sub/a.json") == f"/data/staging/{TS}/2/sub/a.json"
    assert group.progress_path == Path(f"/data/staging/{TS}/.fanfold/2/progress.json")
    assert group.output_paths == [Path(f"/data/denormalized/{TS}/2.csv")]
    assert group.reason_name("a.json") == f"quarantine/{TS}/2/a.json.reason.json"
    assert group.quarantined_name("records.jsonl") == f"quarantine/{TS}/2/records.jsonl.bad"
