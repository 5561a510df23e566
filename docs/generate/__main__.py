"""Write the pages, or check them."""

import argparse
import sys
from pathlib import Path

import docs.generate
from docs.generate import cli, manifest, python, quarantine, spec

REFERENCE_DIR = Path(__file__).parent.parent / "reference"
PAGES = {
    "spec.md": spec.page,
    "cli.md": cli.page,
    "quarantine.md": quarantine.page,
    "python.md": python.page,
    "manifest.md": manifest.page,
}


def main() -> int:
    """Write the pages, or check them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=docs.generate.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    check = parser.parse_args().check
    stale = 0
    for name, make in PAGES.items():
        path, text = REFERENCE_DIR / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}: {'stale' if check else 'written'}")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
