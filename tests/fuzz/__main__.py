"""Feeds mutated files to the core: `make fuzz FUZZ="--seconds 120 --seed 1"`.

Three oracles at the same time: main.c, built with address and undefined-behaviour sanitizers, compares each answer with
those for other windows; Python's own parser says which mutated records are JSON, and what their values are; and the
auditor finds the good records of mutated files.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compiler
from tests import hostile, neighbours
from tests.core import read_json
from tests.oracle import by_library

MAIN = Path(__file__).with_name("main.c")
SANITIZED = ("-std=gnu11", "-g", "-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# So that some tables are in memory, and others in their files.
SMALL_TABLES = "-DTABLE_IN_MEMORY=300"
MOST_BYTES = 4096
MORE = (
    b'{"id":"1","n":7,"items":[{"a":"x","price":1.50,"inner":[1,[2],{"q":3}]},{"a":null}],"v":{"z":[1,2]}}\n',
    b'{"id":"2","n":"8","x":1.5e3,"d":"2026-01-02","t":"2026-01-02T03:04:05+01","o":{"b":true},"s":"2026-01-02 03"}',
    b'[{"id":1,"items":[]},{"id":2,"items":[{"a":"b,c"}]}]\n[{"id":3}]\n',
    b'[{"id":1}{"id":2}\n[{"id":3}],[{"id":4},{"n\n[{"id":5}]\n{"data":[{"id":6}]\n{"data":[]},{"id":7},\n',
    b'[\n  {"id": 1, "v": "\\u00e9"},\n  {"id": 2, bad},\n  {"id": 3}\n]\n',
    b'{"data":[{"id":1},{"id":2}],"meta":{"a":[1,2,{"b":3}]}}\n{"data":[{"id":3}]}',
    b'{"id":1,"v":"{\\"z\\":\\"[1,{}]\\"}","items":{"a":"\\"x\\"","price":1}}\n{"items":"[{\\"a\\":\\"2\\"}]","v":"\\u007b}"}',
    b'{"v":1,"data":[{"n":1,"items":"{}"}],"meta":{"a":[1],"b":2}}{"id":"x","data":{"n":2},"v":"[[]]"}',
    b'id,v,items,n\n1,"{""z"":""[1]""}","[{""a"":1}]",[]\n2,,"x",5\n',
    b'id,n,v\n1,2,"a ""b"", c"\n3,,""\n"4","5\n6",7\n',
    b'\xef\xbb\xbfid,d\r\n1,2026-01-02\r\n\r\n2, "x"\r\n',
    b',id,""\n"",v,\n1,2,3\n',
    b"id;n\tv|x\n1;'a''b;c'\t\"q\n2|3:4\n",
    b'{"a":[[{"id":{"~1":[{"id":1}]}}]]}',
)
WORDS = (
    *(bytes([byte]) for byte in b'{}[],:"\\\n 1-.e0\xff\x00'),
    b"true",
    b"\xc3\xa9",
    b"\\u00e9",
    b"\\ud800",
    b"\\ude00",
    b"NaN",
)


EMPTY_ARRAYS = re.compile(rb"([ \t\r\n]*\[[ \t\r\n]*\])+\Z")


def corpus() -> list[bytes]:
    """Return what is mutated: the small files of the hostile corpus, and files of each form."""
    cases = [case for kind in ("json", "values", "keys") for case in hostile.corpus(kind).cases]
    contents = [case.content for case in [*cases, *hostile.csv()] if isinstance(case.content, bytes)]
    return [*MORE, *(content for content in contents if len(content) <= MOST_BYTES)]


def start(folder: Path, seed: int, seconds: float) -> "subprocess.Popen[str]":
    """Build main.c and the core with sanitizers, and start it; where it fails, the input is in `folder`/found.

    Raises:
        RuntimeError: there is no gcc or clang, or it fails.
    """
    command = compiler.of_the_system()
    if command is None:
        msg = "found no gcc or clang, which the sanitizers need"
        raise RuntimeError(msg)
    program = folder / "main"
    subprocess.run(
        [*command, *SANITIZED, SMALL_TABLES, "-o", program, MAIN, *sorted(compiler.CORE.glob("*.c"))], check=True
    )
    files = []
    for number, content in enumerate(corpus()):
        files.append(folder / f"{number:04}")
        files[-1].write_bytes(content)
    arguments = [str(program), str(seed), str(seconds), *map(str, files)]
    return subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, text=True)


def differs(text: bytes) -> bool:
    """Say whether the core and Python's parser have different opinions of a record."""
    text = text.strip(b" \t\r\n")
    if not text or text[:1] == b"[" or text.startswith(b"\xef\xbb\xbf"):
        return False
    # An array that is empty has no record.
    found, expected = read_json(text), by_library(EMPTY_ARRAYS.sub(b"", text))
    if expected is None:
        # It may be several records.
        return not found.wrong and len(found.values) == 1
    return bool(found.wrong) or found.values != [expected]


def mutated(drawn: random.Random, texts: list[bytes]) -> bytes:
    """Return a text with a few changes."""
    text = drawn.choice(texts)
    for _ in range(drawn.randrange(1, 5)):
        at, size = drawn.randrange(len(text) + 1), drawn.choice((0, 0, 1, 1, 2, 9))
        text = text[:at] + drawn.choice((b"", *WORDS)) + text[at + size :]
    return text


def main() -> int:
    """Run all, and print how many inputs there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    texts = [text for text in corpus() if text[:1] == b"{" and len(text) < MOST_BYTES]
    drawn, number = random.Random(chosen.seed), 0
    running = start(folder, chosen.seed, chosen.seconds)
    end = time.monotonic() + chosen.seconds
    while time.monotonic() < end and running.poll() is None:
        number += 1
        text = mutated(drawn, texts)
        found = f"Python's parser has another opinion of {text!r}" if differs(text) else ""
        if found := found or neighbours.differs(*neighbours.changed(drawn)):
            running.kill()
            running.wait()
            sys.stdout.write(found + "\n")
            return 1
    printed, _ = running.communicate()
    if running.returncode:
        sys.stdout.write(f"the core failed (exit code {running.returncode}): {folder}/found has the input" + "\n")
        return 1
    sys.stdout.write(
        f"{int(printed):,} inputs under sanitizers, {number:,} records beside Python's parser and files beside the "
        "auditor: no difference\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
