"""Where the feed of a cluster lives: in a folder that all workers have, or in a bucket and they share nothing else."""

import dataclasses
import shutil
from collections.abc import Mapping
from typing import NamedTuple

import yaml

from fanfold.airflow.embedded.server import free_port
from tests.cluster.parts import ROOT, Part
from tests.conftest import FeedDir
from tests.stores.servers import BUCKET, S3_SETTINGS, VERDICT

SERVER = str(ROOT / ".venv/stores/bin/localbucket")


class Place(NamedTuple):
    """A feed, and what a cluster needs to work on it."""

    feed: FeedDir
    """The feed as a folder, for who lands and counts. That of a bucket is what its server keeps."""
    data_dir: str
    """The name by which DAG runs know it."""
    servers: Mapping[str, Part] = {}
    environ: Mapping[str, str] = {}


def in_folder(feed: FeedDir) -> Place:
    """Leave a feed where it is."""
    return Place(feed, str(feed.data_dir))


def in_bucket(feed: FeedDir) -> Place:
    """Move a feed into a bucket, and change its spec accordingly; the server of the store does not run yet.

    The server keeps each object as a file of that name, so the feed is a folder there, too.
    """
    root, port = feed.spec_path.parent, str(free_port(None))
    plain = dataclasses.replace(feed, spec_path=root / "plain.yaml", data_dir=root / "store" / BUCKET / "feed")
    plain.data_dir.parent.mkdir(parents=True)
    shutil.move(feed.data_dir, plain.data_dir)
    name, content = VERDICT
    (plain.data_dir / name).parent.mkdir(exist_ok=True)
    (plain.data_dir / name).write_bytes(content)
    keys = yaml.safe_load(feed.spec_path.read_text(encoding="utf-8"))
    plain.spec_path.write_text(yaml.safe_dump({**keys, "data_dir": str(plain.data_dir)}), encoding="utf-8")
    store = {"endpoint_url": f"http://127.0.0.1:{port}", "region": S3_SETTINGS["region"]}
    in_store = {**keys, "data_dir": f"s3://{BUCKET}/feed", "store": store}
    feed.spec_path.write_text(yaml.safe_dump(in_store), encoding="utf-8")
    server = [SERVER, str(root / "store"), "--host", "127.0.0.1", "--port", port]
    credentials = {f"AWS_{name.upper()}": value for name, value in S3_SETTINGS["credentials"].items()}
    return Place(plain, f"s3://{BUCKET}/feed", {"store": Part(server, {})}, credentials)
