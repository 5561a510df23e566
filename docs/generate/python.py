"""The page of the Python API: what may be imported, the tasks of a DAG, the Asset.

The code of Airflow's side is read, not imported: an import of Airflow takes seconds and makes its home directory.
"""

import ast
import importlib.util
import inspect
from pathlib import Path

import msgspec

import fanfold
from docs.generate.words import NOTE, docstring, joined, table, type_name
from fanfold import errors
from fanfold.feed.status import RunStatus
from fanfold.manifest import Summary
from fanfold.spec import model
from fanfold.steps.plan import Plan
from fanfold.steps.purge import Purge
from fanfold.steps.recount import Recount

GROUP_TASKS = ("merge_data", "denormalize_data", "archive_files")
CHECK_TASKS = ("list_files", "multiple_files_check", "send_slack_notification", "skip_notification")


API = ("run", "plan", "verify", "status", "purge")
RESULTS = (Summary, Plan, Recount, RunStatus, Purge)


def page() -> str:
    """Return the page."""
    tasks = _functions("fanfold.airflow.tasks", "FeedTasks")
    listed = [[f"`{_task_id(name)}`", _first_line(task)] for name, task in tasks.items() if not name.startswith("_")]
    raised = [name for name in fanfold.__all__ if name.endswith("Error")]
    counts = [field.name for field in msgspec.structs.fields(Summary) if field.name not in {"subdirs", "references"}]
    return joined(
        [
            "# Python",
            NOTE,
            "These names are public; everything else may change. The package is typed (`py.typed`).",
            *_function(_functions("fanfold.airflow.dag")["feed_dag"], "fanfold.airflow"),
            *(block for name in API for block in _function(_functions("fanfold.api")[name], "fanfold")),
            *(block for kind in RESULTS for block in _struct(kind)),
            *_function(_functions("fanfold.spec.model")["load_spec"], "fanfold"),
            "## Errors of fanfold",
            "`from fanfold import " + ", ".join(raised) + "`",
            inspect.cleandoc(errors.__doc__ or ""),
            table(
                ["error", "exit code", "meaning"],
                [[f"`{name}`", str(_error(name).exit_code), _summary(_error(name).__doc__)] for name in raised],
            ),
            "## fanfold.Spec",
            f"{_summary(model.Spec.__doc__)} Its attributes are the keys of [the spec](spec.md).",
            "## `fanfold.__version__`",
            "The version of the installed package, as a str.",
            *_fixture(),
            "## The tasks of the DAG",
            "What each task does, by its id. A written-out DAG calls the method of `FeedTasks` with the same name.",
            table(["task", "what it does"], listed),
            "## The Asset",
            (
                "`verify_run` emits an event of an Airflow Asset, whose URI is the output folder, as in "
                "`file:///data/transactions/denormalized`. A run without a row has no event. The event's `extra` "
                "has the `uri` of the run's own folder, and its counts: "
                + ", ".join(f"`{name}`" for name in counts)
                + ". It also has the `proof` in a sentence, and the absolute paths `output` and `manifest`. If "
                "something is in quarantine, it has that path and the counts `quarantined` by code; if the columns "
                "changed, their `drift`. With `tables` it has a `rows_out.<table>` for each table instead of "
                "`rows_out`. `verify_run` returns the same. `start` emits the events of the older runs that it "
                "finishes. [Consume the output](../guides/output.md#when-a-run-is-complete) shows a DAG that "
                "waits for the Asset."
            ),
        ]
    )


def _struct(kind: type[msgspec.Struct]) -> list[str]:
    fields = [[f"`{one.name}`", f"`{type_name(one.type)}`"] for one in msgspec.structs.fields(kind)]
    return [f"## fanfold.{kind.__name__}", docstring(kind.__doc__ or ""), table(["attribute", "type"], fields)]


def _fixture() -> list[str]:
    module = "fanfold.pytest_plugin"
    methods = _functions(module, "FanfoldFeed")
    public = [
        [f"`{name}({_arguments(one)})`", _summary(ast.get_docstring(one))]
        for name, one in methods.items()
        if name[0] != "_"
    ]
    return [
        "## The pytest fixture",
        f"`fanfold_feed`: {docstring(ast.get_docstring(_functions(module)['fanfold_feed']) or '')}",
        "A feed has `spec`, `spec_path` and `data_dir`, and these methods:",
        table(["method", "what it does"], public),
    ]


def _arguments(method: ast.FunctionDef) -> str:
    return ast.unparse(method.args).removeprefix("self").removeprefix(", ")


def _functions(module: str, of_class: str = "") -> dict[str, ast.FunctionDef]:
    """Return the functions of a module, or the methods of a class in it, by name."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        msg = f"there is no module {module}"
        raise ValueError(msg)
    body = ast.parse(Path(found.origin).read_text(encoding="utf-8")).body
    if of_class:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == of_class)
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def _function(function: ast.FunctionDef, package: str) -> list[str]:
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return [
        f"## {package}.{function.name}",
        f"```python\n{package}.{function.name}({ast.unparse(function.args)}){returns}\n```",
        docstring(ast.get_docstring(function) or ""),
    ]


def _task_id(name: str) -> str:
    if name in GROUP_TASKS:
        return f"subdir_N.{name}"
    return f"file_check_operations.{name}" if name in CHECK_TASKS else name


def _first_line(function: ast.FunctionDef) -> str:
    return _summary(ast.get_docstring(function))


def _summary(text: str | None) -> str:
    return inspect.cleandoc(text or "").partition("\n")[0]


def _error(name: str) -> type[errors.FanfoldError]:
    error: type[errors.FanfoldError] = getattr(errors, name)
    return error
