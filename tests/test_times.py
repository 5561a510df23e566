"""Times: each form of ISO 8601 that loses nothing, and epochs; what they mean is said by the standard library."""

import random
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from fanfold.audit.values import written_as
from tests.conftest import MakeFeed
from tests.test_records import as_type

FLAT = {"subdirs": 1, "merge": [], "denormalize": {"explode": []}, "quarantine": {"max_bad_records_percent": 100}}
DRAW = random.Random(14)
FIRST = datetime(1, 1, 2, tzinfo=UTC)
LAST_SECOND = (datetime(9999, 12, 30, tzinfo=UTC) - FIRST) // timedelta(seconds=1)


def moments(number: int) -> list[datetime]:
    """Return moments of all years, half of them within a second, in zones of all kinds."""
    offsets = [timedelta(minutes=DRAW.randrange(-1439, 1440)) for _ in range(number)]
    return [
        (FIRST + timedelta(seconds=DRAW.randrange(LAST_SECOND)))
        .replace(microsecond=DRAW.choice([0, 7, 120_000, 999_999]))
        .astimezone(timezone(offset))
        for offset in offsets
    ]


def days(moment: datetime) -> list[str]:
    """Return a day in all forms of ISO 8601 that have one."""
    year, week, weekday = moment.isocalendar()
    forms = [f"{moment.date()}", f"{moment.year:04}-{moment:%j}", f"{year:04}-W{week:02}-{weekday}"]
    return [*forms, *(form.replace("-", "") for form in forms)]


def clocks(moment: datetime) -> list[str]:
    """Return a time of day in all forms that have all of it."""
    fraction = f"{moment.microsecond:06}".rstrip("0")
    fractions = [f"{mark}{fraction}{zeros}" for mark in ".," for zeros in ("", "0", "00000")] if fraction else [""]
    found = [f"{moment:%H:%M:%S}{one}" for one in fractions] + [f"{moment:%H%M%S}{one}" for one in fractions]
    if not fraction and not moment.second:
        found += [f"{moment:%H:%M}", f"{moment:%H%M}"]
    return found


def zones(moment: datetime) -> list[str]:
    """Return a zone in all forms."""
    long = f"{moment:%z}"
    found = [long, f"{long[:3]}:{long[3:]}"]
    return [*found, *([long[:3]] if long.endswith("00") else []), *(["Z", "z"] if long == "+0000" else [])]


def rfc_3339(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def by_auditor(kind: str, text: str) -> str | None:
    """Return what the auditor makes of a text."""
    return written_as(kind, text)


def test_a_moment_is_the_same_in_all_forms_of_iso_8601() -> None:
    """Dates by month, week or day of the year, with or without dashes and colons, mean what the library says."""
    for moment in [*moments(60), *(one.replace(second=0, microsecond=0) for one in moments(30))]:
        for day in days(moment):
            assert as_type("DATE", f'"{day}"') == f"{moment.date()}"
            clock, zone, mark = DRAW.choice(clocks(moment)), DRAW.choice(zones(moment)), DRAW.choice("T tT")
            here = moment.replace(tzinfo=None).isoformat()
            assert as_type("TIMESTAMP", f'"{day}{mark}{clock}"') == here
            assert as_type("TIMESTAMPTZ", f'"{day}{mark}{clock}{zone}"') == rfc_3339(moment)


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMPTZ"])
def test_core_and_auditor_agree_about_what_is_not_a_time(kind: str) -> None:
    """A text that is nearly a time is one to the core where it is one to the auditor, and means the same."""
    for moment in moments(400):
        text = [*f"{DRAW.choice(days(moment))}T{DRAW.choice(clocks(moment))}{DRAW.choice(zones(moment))}"]
        if DRAW.random() < 1 / 3:
            del text[DRAW.randrange(7, len(text)) :]
        for _ in range(DRAW.randrange(3)):
            text[DRAW.randrange(len(text))] = DRAW.choice("0123456789-:.,TWZ+ ")
        found = as_type(kind, f'"{"".join(text)}"')
        assert (None if found == "wrong_type" else found) == by_auditor(kind, "".join(text)), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T24:00:00Z", "2026-01-03T00:00:00Z"),
        ("2026-12-31T2400-01", "2027-01-01T01:00:00Z"),
        ("2024-02-28T24:00:00.000+00", "2024-02-29T00:00:00Z"),
        ("2026-01-02T24:00:01Z", "wrong_type"),
        ("2026-01-02T09Z", "2026-01-02T09:00:00Z"),
        ("2016-12-31T23:59:60Z", "wrong_type"),
        ("2026-01-02T09:15:00.1234567Z", "wrong_type"),
        ("2026-W53-1T00:00Z", "2026-12-28T00:00:00Z"),
        ("2025-W53-1T00:00Z", "wrong_type"),
        ("2026-366T00:00Z", "wrong_type"),
        ("2026-000T00:00Z", "wrong_type"),
        ("2026-W01-0T00:00Z", "wrong_type"),
        ("2026-W01-8T00:00Z", "wrong_type"),
        ("2026-0102T00:00Z", "wrong_type"),
        ("202601-02T00:00Z", "wrong_type"),
        ("2026-01-02T09:1500Z", "wrong_type"),
        ("2026-01-02T0915:00Z", "wrong_type"),
        ("2026-01-02T09:15:00.Z", "wrong_type"),
        ("9999-12-31T23:00-01", "wrong_type"),
        ("9999-12-31T24:00Z", "wrong_type"),
        ("0000-01-01T00:00Z", "wrong_type"),
        ("2026-01-02", "wrong_type"),
        ("", "wrong_type"),
    ],
)
def test_the_end_of_a_day_is_a_moment_and_what_would_be_lost_is_not(text: str, expected: str) -> None:
    """24:00 is the next day's midnight; a leap second, a seventh digit and a day that is not there are refused."""
    assert as_type("TIMESTAMPTZ", f'"{text}"') == expected
    assert by_auditor("TIMESTAMPTZ", text) == (None if expected == "wrong_type" else expected)


@pytest.mark.parametrize(("kind", "unit"), [("EPOCH_S", 10**6), ("EPOCH_MS", 10**3)])
def test_an_epoch_is_the_moment_that_it_counts_to(kind: str, unit: int) -> None:
    """Seconds and milliseconds since 1970, as numbers or texts, are that moment in UTC; half a microsecond is not."""
    start = datetime(1970, 1, 1, tzinfo=UTC)
    for moment in [*moments(100), start, start - timedelta(microseconds=1)]:
        micros = (moment - start) // timedelta(microseconds=1)
        number = f"{Decimal(micros) / unit:f}"
        assert as_type(kind, number) == as_type(kind, f'"{number}"') == rfc_3339(moment), number
        assert as_type(kind, f"{micros}e-{len(str(unit)) - 1}") == rfc_3339(moment)
        assert as_type(kind, f"{Decimal(micros * 10 + 5) / unit / 10:f}") == "inexact"
    assert [as_type(kind, one) for one in ("true", '"x"', '""', "{}")] == ["wrong_type"] * 4
    most = Decimal(253402300800) * 10**6 / unit
    assert [as_type(kind, one) for one in (f"{most:f}", "1e300", "1e-300", "-1e14")] == ["inexact"] * 4


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_epochs_are_moments_in_tables_and_for_sql(make_feed: MakeFeed, form: str) -> None:
    """A declared epoch is a column of type TIMESTAMPTZ: SQL sees a moment, and the auditor accounts for each value."""
    feed = make_feed(
        {"a.json": [{"w": 1767345300, "ms": "1767345300123"}, {"w": None}, {"w": 0.5, "ms": 0}, {"w": "x"}]},
        **FLAT
        | {
            "input": {"fields": {"w": "EPOCH_S", "ms": "EPOCH_MS"}},
            "output": {"format": form},
            "denormalize": {"columns": ["w", "ms", {"millis": "epoch_ms(w)"}]},
        },
    )
    summary = feed.run()
    assert (summary.rows_out, summary.records_quarantined) == (3, 1)
    if form == "csv":
        assert feed.read() == (
            "w,ms,millis\n2026-01-02T09:15:00Z,2026-01-02T09:15:00.123000Z,1767345300000\n,,\n"
            "1970-01-01T00:00:00.500000Z,1970-01-01T00:00:00Z,500\n"
        )
