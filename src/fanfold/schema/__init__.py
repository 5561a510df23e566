"""The one schema of a run: which fields and columns it has, from what was seen and what is declared.

It is pure: it reads no file.
"""
