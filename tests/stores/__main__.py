"""`make stores`: one delivery on every store, a feed that moves between them, and three runs of a feed at once."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.stores import servers
from tests.stores.alike import Alike
from tests.stores.at_once import at_once
from tests.stores.delivery import FORMS
from tests.stores.places import STORES

# Somebody waits.
DOCTOR_SECONDS = 10


def main() -> int:
    """Do everything; return 1 where something differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.stores", description=__doc__)
    parser.add_argument("--files", type=int, default=400, help="of the first delivery; 0: none")
    parser.add_argument("--rounds", type=int, default=50, help="of three runs at once, in each place; 0: none")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES, help="where the delivery goes")
    parser.add_argument(
        "--at-once", nargs="+", choices=["folder", *STORES], default=["folder", "moto"], help="where runs go at once"
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    options = parser.parse_args()
    began = time.monotonic()
    found = list[str]()
    stores = [name for name in options.stores if name != "azurite" or servers.AZURITE.exists()]
    with tempfile.TemporaryDirectory(prefix="stores-") as folder:
        if len(stores) < len(options.stores):
            _say("azurite is not there, and is left out: make azurite")
        for form in FORMS if options.files else ():
            alike = Alike(Path(folder), form, options.files, _say)
            for store in stores:
                alike.on(store)
            found += alike.differences
            if max(alike.doctor_seconds) > DOCTOR_SECONDS:
                found.append("fanfold doctor is slow")
                _say(f"  {form}: fanfold doctor took longer than {DOCTOR_SECONDS} s: is the machine busy?")
        for store in options.at_once if options.rounds else ():
            found += at_once(store, Path(folder), options.rounds, options.seed, _say)
    _say(f"{len(found)} differences in all, {time.monotonic() - began:.0f} s")
    return 1 if found else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
