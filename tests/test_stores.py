"""A sample of what `python -m tests.stores` does: one delivery on every store, and three runs of a feed at once."""

import json
from pathlib import Path

import pytest

from tests.stores.alike import ALL_TS, Alike
from tests.stores.at_once import at_once
from tests.stores.fixtures import need_azurite

pytestmark = pytest.mark.slow

FILES, ROUNDS = 20, 2


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Alike:
    """Deliver three times to a folder."""
    return Alike(tmp_path_factory.mktemp("alike"), "CSV", FILES, print)


def test_a_delivery_has_all_that_may_come(alike: Alike) -> None:
    """Good and bad records and files, and duplicates within a delivery and of those before, are in it."""
    assert alike.differences == []
    for n, ts in enumerate(ALL_TS):
        manifest = json.loads(alike.expected[-1][f".fanfold/runs/{ts}.json"])
        summary = manifest["summary"]
        assert min(summary["files_quarantined"], summary["records_quarantined"], *summary["rows_out"].values()) > 0
        again = {file["duplicate_of"].partition("/")[0] for file in manifest["files"] if file.get("duplicate_of")}
        assert n == 0 or again - {ts}


@pytest.mark.parametrize("store", ["moto", "localbucket", "azurite", "gcs"])
def test_a_delivery_is_the_same_in_every_store(store: str, alike: Alike) -> None:
    """All files of a feed are those of a folder, byte for byte, also when it moves to a folder and back between."""
    if store == "azurite":
        need_azurite()
    alike.on(store)
    assert alike.differences == []


@pytest.mark.parametrize("place", ["folder", "moto"])
def test_three_runs_at_once_take_each_file_once(place: str, tmp_path: Path) -> None:
    """Three machines, each with nothing of its own but the spec: no run fails for good, and each file is in one."""
    assert at_once(place, tmp_path, ROUNDS, 1, print) == []
