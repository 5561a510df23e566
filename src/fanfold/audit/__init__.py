"""The auditor: it accounts for every scalar of a complete run, by code that shares nothing with what it audits.

It reads the archived originals and the kept references with the standard library (zstandard and pyarrow for their
formats), works out the rows that their records must make, and compares these with the tables, one by one, in their
order. It is slow and plain on purpose: it is what the tests believe. Of Fanfold it knows only the words of a feed:
spec, layout, manifest, errors.
"""

from fanfold.audit.auditor import audit
from fanfold.audit.findings import Audit, Finding

__all__ = ["Audit", "Finding", "audit"]
