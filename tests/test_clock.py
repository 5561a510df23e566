"""What SQL may not ask: the day, the machine, the session."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanfold.engine import expressions
from fanfold.errors import DataError
from fanfold.manifest import Column

pytestmark = pytest.mark.slow

# To a process that has it, it is more than a year later.
LATER = """\
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += 400L * 86400 + 12345;
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""
# Calls every overload of every function that DuckDB says always answers the same, and casts words that mean a day.
ASK = """
import itertools, json, sys
from pathlib import Path
import duckdb
from fanfold.engine import session
VALUES = {
    "VARCHAR": ["'abc'", "'2020-01-02 03:04:05'"], "DATE": ["DATE '2020-05-06'"], "BLOB": ["'ab'::BLOB"],
    "TIME": ["TIME '01:02:03'"], "TIME WITH TIME ZONE": ["TIMETZ '01:02:03+01'"], "BOOLEAN": ["true"],
    "TIMESTAMP WITH TIME ZONE": ["TIMESTAMPTZ '2020-05-06 07:08:09+00'"], "INTERVAL": ["INTERVAL 3 DAY"],
    "ANY": ["1"], "T": ["1"], "DOUBLE": ["1.5::DOUBLE"], "JSON": ["'{}'::JSON"],
}
def values(kind):
    if kind.endswith("[]"): return ["[1, 2]"]
    if kind.startswith("TIMESTAMP") and "ZONE" not in kind: return [f"'2020-05-06 07:08:09'::{kind}"]
    return VALUES.get(kind, ["3"])
def ask(connection, sql):
    try: return repr(connection.execute(f"SELECT ({sql})::VARCHAR").fetchone())
    except duckdb.Error as error: return type(error).__name__
answers = {}
with session.connect(Path.cwd()) as connection:
    listed = connection.execute(
        "SELECT DISTINCT function_name, parameter_types FROM duckdb_functions() "
        "WHERE function_type = 'scalar' AND stability = 'CONSISTENT' ORDER BY ALL"
    ).fetchall()
    for name, kinds in listed:
        for some in itertools.islice(itertools.product(*map(values, kinds)), 3):
            sql = f'"{name}"({", ".join(some)})'
            answers[sql] = ask(connection, sql)
    for word in ("now", "today", "tomorrow", "yesterday", "current_date", "current_timestamp", "noon", "midnight"):
        for kind in ("DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "TIMETZ", "TIMESTAMP_NS"):
            sql = f"TRY_CAST('{word}' AS {kind})"
            answers[sql] = ask(connection, sql)
json.dump(answers, sys.stdout)
"""


def answers(**environ: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(
        subprocess.run(
            [sys.executable, "-c", ASK], env={**os.environ, **environ}, capture_output=True, check=True
        ).stdout
    )
    return found


def test_what_answers_otherwise_at_another_time_is_refused(tmp_path: Path) -> None:
    """Of all functions and casts of SQL, what answers otherwise a year later, or in another zone, is refused."""
    (tmp_path / "later.c").write_text(LATER, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "later.so", tmp_path / "later.c"], check=True)
    now = answers(TZ="UTC")
    later = answers(LD_PRELOAD=str(tmp_path / "later.so"), TZ="Asia/Tokyo", USER="somebody")
    assert len(now) > 1_000
    differ = [sql for sql, answer in now.items() if later[sql] != answer]
    # The clock is another: else nothing would be proved.
    assert any("age" in sql for sql in differ)
    for sql in differ:
        with pytest.raises(DataError, match="depend"):
            expressions.column("c", sql, [Column("id", "BIGINT", "record", ["id"])])
