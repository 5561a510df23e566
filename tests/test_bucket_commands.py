"""Every command on a feed in a bucket does what it does on one in a folder, and names the bucket."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from fanfold import api, bucket, documents
from fanfold.bucket import Connection
from fanfold.bucket.probe import RESULT
from fanfold.cli import exits
from fanfold.fitness import Trial, judged
from fanfold.pytest_plugin import FanfoldFeed
from fanfold.spec.model import parse_spec
from fanfold.spec.roots import ALLOWED_ROOTS
from tests.conftest import TS, FeedDir, MakeFeed
from tests.stores.servers import BUCKET, S3_SETTINGS, VERDICT, Bucket
from tests.torture import buckets as stores
from tests.torture.buckets import Buckets, Feed, tree

LATER = "20260103T000000Z"
SECRET = "wJalrXUtnFEMI-a-secret-of-a-test"
FILES: dict[str, Any] = {
    "a.json": '{"id": 1, "customer_id": "1"}\n{"id": 2, "price": 12.50,}\n{"id": {"no": 3.10}, "t": "é\\n"}\n',
    "b.csv": 'id,"customer_id"\n5,1\n6\n7,1,"x"\n',
    "bad.json": "[",
    "sub/c.json": [{"id": 3, "customer_id": "007", "items": [{"qty": 1}]}],
    "sub/d.json": [{"id": 3, "customer_id": "007", "items": [{"qty": 1}]}],
}
Fanfold = Callable[..., tuple[int, str]]
Both = tuple[Path, Feed, Callable[..., str]]


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buckets]:
    """Start a store."""
    with stores.buckets(tmp_path_factory.mktemp("specs")) as started:
        yield started


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the credentials of the store into the environment, as outside of Airflow."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_SETTINGS["credentials"]["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """A feed in a folder, with bad records of JSON and CSV, a bad file, and a duplicate."""
    return make_feed(
        FILES,
        subdirs=2,
        input={"duplicates": "archive", "fields": {"id": "BIGINT"}},
        quarantine={"max_bad_records_percent": 100, "max_bad_files_percent": 100},
    )


@pytest.fixture
def fanfold(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fanfold:
    """Do a command in this process; return its exit code and all that it has written."""

    def do(*arguments: object) -> tuple[int, str]:
        words = list(map(str, arguments))
        monkeypatch.setattr("sys.argv", ["fanfold", *words])
        capfd.readouterr()
        code = exits._run([word for word in words if word != "--debug"])  # noqa: SLF001 - `main` ends the process
        told = capfd.readouterr()
        return code, told.out + told.err

    return do


@pytest.fixture
def both(feed: FeedDir, buckets: Buckets, fanfold: Fanfold) -> Both:
    """Copy the feed into a bucket; return both, and a function that does a command on both and compares them."""
    copied = buckets.copy(feed.spec_path)
    uri = yaml.safe_load(copied.spec.read_text())["data_dir"]

    def do(command: str, *arguments: object, is_same: bool = True) -> str:
        words = command.split()
        code, told = fanfold(*words, feed.spec_path, *arguments)
        in_bucket = fanfold(*words, copied.spec, *arguments)
        assert "/fanfold-" not in in_bucket[1]
        expected = told.replace(str(feed.data_dir), uri).replace(str(feed.spec_path), str(copied.spec))
        # What a run that is not complete has is in no bucket.
        expected = re.sub("; all are in '[^']+', the files are in '[^']+'", "", expected)
        assert (code, plain(expected)) == (in_bucket[0], plain(in_bucket[1]))
        assert not is_same or settled(tree(feed.data_dir)) == settled(copied.tree())
        return told

    return feed.data_dir, copied, do


def plain(told: str) -> str:
    """Leave out when it was, and how long it took."""
    return re.sub(r'(?<= )\d+\.\d(?= │)|(?<="seconds":)[\d.]+|\d{8}T\d{6}\.\d{6}Z', "", told)


def settled(files: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out the files of a run that is not complete: in a bucket they stay in landing."""
    return {name: content for name, content in files.items() if not name.startswith(("staging/", "transactions/"))}


def test_a_run_is_shown_checked_and_restored(both: Both) -> None:
    """Before a run, and after it, each command says of a bucket what it says of a folder, and leaves the same tree."""
    folder, copied, do = both
    assert "5 files ready" in do("plan")
    assert "no runs yet" in do("status")
    assert "nothing lost, nothing twice" in do("run", "--ts", TS)
    do("run", "--ts", TS, "--json")
    assert f"{TS} │ complete" in do("status")
    do("status", "--json")
    for options in ((), ("--deep",), ("--audit", "--json")):
        do("verify", *options)
    do("run", "--ts", "nonsense")
    do("release", TS)
    do("restore", "20250101T000000Z")
    assert "restored: 5 in" in do("restore", TS)
    assert tree(folder) == copied.tree()
    copied.put("transactions/a.json", b"other")
    (folder / "transactions/a.json").write_bytes(b"other")
    assert "transactions/a.json' exists and is another file" in do("restore", TS)
    assert tree(folder) == copied.tree()


def test_what_is_bad_is_landed_again(both: Both, tmp_path: Path) -> None:
    """Items are listed, shown, exported, discarded and landed again, once, and the run of them comes out the same."""
    folder, copied, do = both
    do("run", "--ts", TS)
    assert f"{TS}/2:2 open" in do("quarantine list")
    lines = [json.loads(line) for line in do("quarantine export").splitlines()]
    do("quarantine show", f"{TS}/2:1")
    do("quarantine discard", f"{TS}/2:4", "--reason", "old")
    corrected = tmp_path / "corrected.jsonl"
    good = [
        {**line, "record": {"id": 4, "customer_id": "1", "items": [{"qty": 9}]}}
        for line in lines
        if line["item"] == f"{TS}/2:2"
    ]
    corrected.write_text("".join(map(json.dumps, good)))
    for _ in range(2):
        assert "landed as replay/" in do("quarantine replay", "--with", corrected)
    corrected.write_text("".join(json.dumps({**line, "record": {"id": 5}}) for line in good))
    assert "was replayed before, with another text, and waits in landing" in do(
        "quarantine replay", "--with", corrected
    )
    assert do("quarantine replay").count("landed as") == 3
    assert do("quarantine replay") == ""
    assert tree(folder) == copied.tree()
    assert "4 files ready" in do("status")
    assert "nothing lost, nothing twice" in do("run", "--ts", LATER)
    assert "nothing lost, nothing twice" in do("verify", LATER, "--audit")
    do("quarantine list", "--all", "--json")
    assert tree(folder) == copied.tree()


def test_a_run_that_fails_is_passed_over_and_given_up(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    """A run that would only fail again is passed over by other processes, too; given up, its files are in landing."""
    folder, copied, do = both
    for spec in (folder.with_name("feed.yaml"), copied.spec):
        document = yaml.safe_load(spec.read_text())
        spec.write_text(yaml.safe_dump({**document, "quarantine": {"max_bad_records_percent": 10}}))
    assert "(quarantine.max_bad_records_percent)" in do("run", "--ts", TS)
    assert "waiting in" in do("status")
    assert "is unfinished, with 2 files waiting" in do("quarantine list")
    do("plan")
    do("run")
    assert caplog.text.count(f"run {TS} is passed over") == 2
    assert do("release", TS) == "released: 2 back in landing\n"
    assert tree(folder) == copied.tree()


def test_what_is_old_is_removed(both: Both) -> None:
    """What would be purged is said, and what is purged is gone from the bucket; a second call changes nothing."""
    folder, copied, do = both
    do("run", "--ts", TS)
    for code in ("truncated", "trailing_comma", "wrong_type", "ragged_line"):
        do("quarantine discard", "--code", code)
    assert "nothing is removed yet" in do("purge", "--older-than", LATER)
    do("purge", "--older-than", LATER, "--what", "output", "--yes", "--json")
    assert "purged 1 run" in do("purge", "--older-than", LATER, "--yes")
    assert "nothing to purge" in do("purge", "--older-than", LATER, "--yes")
    assert "purged (archive, output, quarantine, references)" in do("verify", TS)
    assert not [name for name in copied.tree() if name.startswith(("processed/", "denormalized/", "quarantine/"))]
    assert tree(folder) == copied.tree()


def test_a_run_is_made_again_in_and_out_of_a_bucket(both: Both, buckets: Buckets, fanfold: Fanfold) -> None:
    """From the archive of a folder into a bucket, and out of one: what comes out is that of folders, byte for byte."""
    folder, copied, do = both
    do("run", "--ts", TS)
    empty = buckets.copy(copied.spec)
    uri, keys = (yaml.safe_load(empty.spec.read_text())[key] for key in ("data_dir", "store"))
    with folder.with_name("feed.yaml").open("a") as spec:
        spec.write(yaml.safe_dump({"store": keys}))
    made = [folder.with_name("again"), copied.spec.with_name("again")]
    for spec_path, place in ((folder.with_name("feed.yaml"), made[0]), (copied.spec, made[1])):
        assert fanfold("run", spec_path, "--from-archive", TS, "--data-dir", place)[0] == 0
    for _ in range(2):
        code, told = fanfold("run", folder.with_name("feed.yaml"), "--from-archive", TS, "--data-dir", uri)
        assert code == 2
        assert "outside the allowed roots" in told
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv(ALLOWED_ROOTS, f"{folder.parent}:{uri}")
            code, told = fanfold("run", folder.with_name("feed.yaml"), "--from-archive", TS, "--data-dir", uri)
        assert code == 0
        assert f"outputs: {uri}/denormalized/{TS}" in told
    assert tree(made[0]) == tree(made[1]) == empty.tree()


def test_a_run_that_cannot_be_made_again_leaves_nothing_in_a_bucket(both: Both, fanfold: Fanfold) -> None:
    """If the changed spec makes the run fail, the bucket stays empty, and a folder is named as the place to see why."""
    _, copied, do = both
    do("run", "--ts", TS)
    document = yaml.safe_load(copied.spec.read_text())
    copied.spec.write_text(yaml.safe_dump({**document, "quarantine": {"max_bad_records_percent": 10}}))
    place = Feed(copied.spec, f"{copied.url}-again")
    place.put(*VERDICT)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(ALLOWED_ROOTS, f"s3://{BUCKET}")
        code, told = fanfold("run", copied.spec, "--from-archive", TS, "--data-dir", f"{document['data_dir']}-again")
    assert code == 1
    assert told.endswith("nothing of it is published: make it in a folder, to see why\n")
    assert place.tree().keys() == {".fanfold/feed.json"}


def test_what_was_landed_and_still_waits_is_landed_once(both: Both) -> None:
    """A replay that is killed when its file is in landing is completed, and the file is taken once."""
    folder, copied, do = both
    do("run", "--ts", TS)
    do("quarantine replay", f"{TS}/2:2")
    # Nothing is renamed in a bucket: this is what a kill in between leaves.
    landed, waiting = f"transactions/replay/{TS}/2/2/a.json", f".fanfold/quarantine/{TS}/2/records/2.landing"
    copied.put(waiting, copied.tree()[landed])
    do("run", "--ts", LATER, is_same=False)
    do("quarantine replay", f"{TS}/2:2")
    assert landed not in copied.tree()
    assert tree(folder) == copied.tree()


def test_a_feed_moves_into_a_bucket_and_back(both: Both, buckets: Buckets) -> None:
    """Copied with all its files, a feed goes on elsewhere: what was seen is a duplicate, and all is proved."""
    folder, _, do = both
    do("run", "--ts", TS)
    spec = folder.with_name("feed.yaml")
    moved = buckets.copy(spec)
    moved.put("transactions/again.json", json.dumps(FILES["sub/c.json"]).encode())
    done = api.run(moved.spec, ts=LATER)
    assert (done.files_in, done.rows_out) == (1, 0)
    assert api.verify(moved.spec, TS, deep=True, audit=True).gaps == []
    for name, content in moved.tree().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "transactions/once_more.json").write_text(json.dumps(FILES["sub/c.json"]))
    assert api.run(spec, ts="20260104T000000Z").rows_out == 0
    for ts in (TS, LATER):
        assert api.verify(spec, ts, deep=True, audit=True).gaps == []


def test_a_bucket_that_was_not_tried_is_refused(both: Both, fanfold: Fanfold) -> None:
    """No run begins in a bucket before `fanfold doctor` was there and found it fit; what is there can be looked at."""
    _, copied, _ = both
    uri, before = yaml.safe_load(copied.spec.read_text())["data_dir"], copied.tree()
    copied.delete(RESULT)
    told = f"'{uri}' was never tried, expected one that keeps what a feed rests on"
    never = f"error: {told}: run fanfold doctor {copied.spec}\n"
    for command in ("run", "plan"):
        assert fanfold(command, copied.spec) == (1, never)
    assert fanfold("status", copied.spec)[0] == 0
    copied.put(RESULT, documents.encode(judged([Trial("copy", lambda: False, "copies")])))
    for command in ("run", "plan"):
        code, told = fanfold(command, copied.spec)
        assert (code, "cannot hold a feed, it fails: copy" in told) == (1, True)
    assert copied.tree() == before
    assert fanfold("doctor", copied.spec)[0] == 0
    assert fanfold("plan", copied.spec)[0] == 0


@pytest.mark.parametrize(
    ("roots", "place", "is_allowed"),
    [
        ("{uri}", "{uri}", True),
        ("s3://feeds/", "{uri}", True),
        ("/tmp:{uri}:/srv", "{uri}", True),
        ("{uri}", "{uri}/inside", True),
        ("{uri}", "{uri}2", False),
        ("{uri}", "{uri}/../other", False),
        ("{uri}", "{uri}/a/../..", False),
        ("{uri}/inside", "{uri}", False),
        ("gs://feeds:/tmp", "{uri}", False),
        ("/", "{uri}", False),
        ("", "s3://feeds/other", False),
    ],
)
def test_a_bucket_is_in_an_allowed_root(  # noqa: PLR0913 - one row of its table
    both: Both, fanfold: Fanfold, monkeypatch: pytest.MonkeyPatch, roots: str, place: str, *, is_allowed: bool
) -> None:
    """A URI is allowed where it is a root or below one, by whole names; nothing is asked of a store that is outside."""
    _, copied, _ = both
    uri = yaml.safe_load(copied.spec.read_text())["data_dir"]
    monkeypatch.setenv(ALLOWED_ROOTS, roots.format(uri=uri))
    for command in ("status", "doctor") if not is_allowed else ("status",):
        code, told = fanfold(command, copied.spec, "--data-dir", place.format(uri=uri))
        assert (code, "is outside the allowed roots" in told) == ((0, False) if is_allowed else (2, True))


def test_no_secret_is_told(
    both: Both, lying_bucket: Bucket, fanfold: Fanfold, caplog: pytest.LogCaptureFixture
) -> None:
    """A secret is in no output, log or file: not where all goes well, and not where the store refuses it."""
    _, copied, _ = both
    caplog.set_level("DEBUG")
    told = [fanfold(*words, "--debug")[1] for words in (("run", copied.spec, "--ts", TS), ("status", copied.spec))]
    document = yaml.safe_load(copied.spec.read_text())
    store = {**document["store"], "endpoint_url": lying_bucket.endpoint_url, "conn_id": "orders"}
    copied.spec.write_text(yaml.safe_dump({**document, "store": store}))
    code, refused = fanfold("status", copied.spec, "--debug")
    assert code == 2
    assert "'orders' (store.conn_id) is a connection of Airflow: outside of it, the credentials come from" in refused
    with bucket.connecting(lambda _: Connection({"access_key_id": "orders", "secret_access_key": SECRET})):
        told.append(fanfold("doctor", copied.spec, "--debug")[1])
    everything = [
        *told,
        refused,
        caplog.text,
        *map(str, copied.tree().values()),
        *map(str, tree(copied.spec.parent).values()),
    ]
    assert not [one for one in everything if SECRET in one]


def test_the_python_functions_work_on_a_bucket(both: Both) -> None:
    """`fanfold.run`, `plan`, `status`, `verify` and `purge` return of a bucket what they return of a folder."""
    folder, copied, _ = both
    before = datetime(2027, 1, 1, tzinfo=UTC)

    def all_of(spec: Path) -> list[object]:
        return [
            api.plan(spec),
            api.run(spec, ts=TS),
            api.status(spec),
            api.verify(spec, deep=True, audit=True),
            api.purge(spec, before, ["output"], yes=True),
        ]

    assert all_of(folder.with_name("feed.yaml")) == all_of(copied.spec)
    assert tree(folder) == copied.tree()


def test_a_spec_of_a_bucket_is_tested_in_a_folder(tmp_path: Path) -> None:
    """The fixture `fanfold_feed` takes a spec of a bucket as any other, and asks no store."""
    spec = parse_spec("version: 1\nname: a\ndata_dir: s3://feeds/none\nstore: {conn_id: orders}\nsubdirs: 1", "spec")
    made = FanfoldFeed(tmp_path, spec)
    made.land("a.json", [{"id": 1}])
    assert made.run().rows_out == 1
    assert made.rows() == [{"id": "1"}]


def test_init_lint_and_schema_need_no_bucket(both: Both, fanfold: Fanfold) -> None:
    """A spec in a bucket is checked without it; samples in a bucket are refused with a sentence."""
    _, copied, _ = both
    assert fanfold("lint", copied.spec) == (0, f"{copied.spec}: ok\n")
    code, told = fanfold("init", f"s3://{BUCKET}/samples/a.json")
    sentence = "is in a bucket, expected files or folders on this machine: copy some samples"
    assert (code, told) == (2, f"error: 's3://{BUCKET}/samples/a.json' {sentence}\n")
