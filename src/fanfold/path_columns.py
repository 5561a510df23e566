"""Pure: what the path of a file in landing says of it, beside its format."""

from urllib.parse import unquote

from fanfold.input_formats import is_archive
from fanfold.spec.model import Input

# What Hive calls the folder of the rows that have no value.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def path_columns(settings: Input, name: str) -> dict[str, str | None]:
    """Return the columns that the folders of a path name, from the outermost; none where `path_columns` is off.

    `date=2026-01-02/store=A%3A1/d.json` has `date` and `store`, whose value is `A:1`. Of a name that comes twice, the
    innermost value counts. An archive is not a folder.
    """
    folders = [one for one in name.split("/")[:-1] if not is_archive(one)] if settings.path_columns else []
    return {
        _decoded(key): None if value == NO_VALUE else _decoded(value)
        for key, is_column, value in (folder.partition("=") for folder in folders)
        if is_column and key
    }


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def told_apart_by(settings: Input, name: str) -> str:
    """Return what tells a file from others with the same bytes: files that are alike in this too are duplicates."""
    return name if settings.identity == "name_and_content" else repr(sorted(path_columns(settings, name).items()))
