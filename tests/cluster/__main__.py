"""`python -m tests.cluster`: runs on a cluster, whose processes are killed at random; in the end all is counted."""

import argparse
import collections
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster.cluster import running
from tests.cluster.places import in_bucket, in_folder
from tests.cluster.torture import KINDS, SETTINGS, STORE, Killable, forget
from tests.torture.airflow import Torture, make_dag
from tests.torture.killer import Killer


def main() -> int:
    """Torture a cluster; return 1 where something is lost, is there twice, or waits for a person."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="DAG runs, one after the other")
    parser.add_argument("--kills", type=int, default=60, help="processes to kill, spread over the runs")
    parser.add_argument("--wipes", type=int, default=2, help="times that Airflow's database is wiped in a further run")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed and when")
    parser.add_argument("--folder", action="store_true", help="the feed is in a folder, not in a bucket")
    parser.add_argument("--kind", choices=[*KINDS, *STORE], help="kill nothing but this")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        feed, dag_file = make_dag(Path(folder))
        place = in_folder(feed) if options.folder else in_bucket(feed)
        kinds = KINDS if options.folder else KINDS | STORE
        with running([dag_file], {**SETTINGS, **place.environ}, place.servers) as cluster:
            killer = Killer(Killable(cluster), {options.kind: 1} if options.kind else kinds, options.seed)
            tortured = Torture(cluster.airflow, place.feed, killer, place.data_dir)
            wiped = {(options.runs * (n + 1)) // (options.wipes + 1) for n in range(options.wipes)}
            number = 0
            while number < options.runs or len(killer.killed) < options.kills:
                if number in wiped:
                    forget(cluster, tortured)
                number += 1
                due = min(options.kills, options.kills * number // options.runs)
                if not tortured.run(due - len(killer.killed)):
                    break
            deaths = cluster.parts.deaths
        result = tortured.result()
    counted = collections.Counter(one.kind for one in killer.killed)
    done = f"{result.cases} DAG runs, {len(killer.killed)} kills, {len(wiped)} wipes, seed {options.seed}"
    lines = [
        f"{done}: {len(result.differences)} differences, {time.monotonic() - began:.0f} s",
        "killed: " + ", ".join(f"{name} {times}" for name, times in counted.most_common()),
        "ended by themselves: " + (", ".join(f"{name} {times}" for name, times in deaths.items()) or "none"),
        *result.differences,
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if result.differences else 0


sys.exit(main())
