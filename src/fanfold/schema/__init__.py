"""The one schema of a run, from what was seen and what is declared: its fields, and the columns of its tables.

It is pure: it reads no file.
"""
