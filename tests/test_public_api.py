"""The public names: there, and of the types that a type checker of a user sees.

`make check` has mypy check each `assert_type`; here they run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import pytest

import fanfold
from fanfold import DataError, FanfoldError, MissingError, PathError, Spec, SpecError, load_spec

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from fanfold.airflow import feed_dag

    def dag_of_a_feed() -> None:
        assert_type(feed_dag("transactions.yaml"), DAG)
        assert_type(feed_dag(Path("transactions.yaml"), schedule="@hourly", tags=["shop"]), DAG)


def test_a_spec_has_its_types(tmp_path: Path) -> None:
    """`load_spec` takes a text or a path, and what it returns is typed to the last key."""
    path = tmp_path / "spec.yaml"
    path.write_text("version: 1\nname: shop\n", encoding="utf-8")
    spec = load_spec(str(path))
    assert_type(spec, Spec)
    assert_type(load_spec(path), Spec)
    assert_type(spec.name, str)
    assert_type(spec.subdirs, int)
    assert_type(spec.denormalize.explode, list[str])
    assert (spec.name, spec.subdirs) == ("shop", 5)


def test_every_error_is_a_fanfold_error(tmp_path: Path) -> None:
    """One `except FanfoldError` is enough, and each error names its exit code."""
    errors: list[type[FanfoldError]] = [DataError, MissingError, PathError, SpecError]
    assert [error.exit_code for error in errors] == [1, 2, 2, 2]
    with pytest.raises(FanfoldError) as raised:
        load_spec(tmp_path / "missing.yaml")
    assert_type(raised.value.exit_code, int)
    assert isinstance(raised.value, MissingError)


def test_the_version_is_that_of_the_package() -> None:
    """`fanfold.__version__` is a version, and every public name is there."""
    assert_type(fanfold.__version__, str)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", fanfold.__version__)
    for name in fanfold.__all__:
        value: Any = getattr(fanfold, name)
        assert value is not None


@pytest.mark.slow
def test_the_installed_package_is_typed(tmp_path: Path) -> None:
    """A type checker in a project of a user finds the types of the installed package."""
    script = tmp_path / "user.py"
    script.write_text("from fanfold import load_spec\n\nreveal_type(load_spec('a.yaml').subdirs)\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", script.name],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Revealed type is "int"' in done.stdout.replace("builtins.", ""), done.stdout
    assert "Success" in done.stdout
