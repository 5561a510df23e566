"""The pages of docs/reference, written from the code: one module for each page, and `words` for what they share.

`python -m docs.generate` writes the pages; with `--check` it writes nothing, names the stale pages, and exits with 1 if
there is one.
"""
