"""Small feeds as each format of the manifest has them, kept in tests/data/formats: one folder for each number.

    python -m tests.format_samples

writes that of the present format anew. A format that was released never changes any more: what is written otherwise
gets the next number (`fanfold.documents.FORMAT`), and a folder of its own.
"""

import shutil
from pathlib import Path

from fanfold import documents
from fanfold.feed import quarantine, replay
from tests.conftest import FeedDir, new_feed

FORMATS_DIR = Path(__file__).parent / "data" / "formats"
FIRST, SECOND = "20250101T000000Z", "20250102T000000Z"
# One group of the first has published, and none of the second.
PUBLISHED, PREPARED = "20250103T000000Z", "20250104T000000Z"
RECORDS = [{"id": n, "customer_id": "1", "items": [{"sku": "a", "price": 0.10}, {"sku": "b"}]} for n in range(3)]


def make(root: Path, number: int) -> FeedDir:
    """Make a feed with two complete runs, what is bad in them, and two unfinished ones."""
    feed = new_feed(
        root,
        {"a.json": RECORDS, "sub/b.csv": "id,customer_id\n7,1\n8\n9,007\n", "bad.json": "no JSON"},
        folder=str(number),
        subdirs=2,
        input={"duplicates": "archive"},
        quarantine={"max_bad_records_percent": 90},
        archive={"compression": "gzip"},
    )
    feed.land("c.json", '{"id": 10, "customer_id": "007"}\n{"id": 11,}\n')
    feed.run(FIRST)
    items = {item.bad.file: item for item in quarantine.items(feed.open())}
    quarantine.discard(feed.open(), items["bad.json"], "not data")
    replay.replay(feed.open(), items["sub/b.csv"], b"id,customer_id\n8,1\n")
    feed.land("again.json", RECORDS)
    feed.run(SECOND)
    for number_of_file in range(2):
        feed.land(f"d{number_of_file}.json", [RECORDS[0] | {"id": 20 + number_of_file}])
    feed.stage(PUBLISHED)
    feed.group(1, PUBLISHED)
    feed.land("e.json", [RECORDS[0] | {"id": 30}])
    feed.stage(PREPARED)
    return feed


if __name__ == "__main__":
    present = documents.FORMAT
    shutil.rmtree(FORMATS_DIR / str(present), ignore_errors=True)
    make(FORMATS_DIR, present)
