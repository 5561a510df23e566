"""Parquet that comes in, read byte by byte: `fields` and `windows` are all that others need."""

from fanfold.parquet.records import fields, windows

__all__ = ["fields", "windows"]
