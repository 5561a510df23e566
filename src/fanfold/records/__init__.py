"""The careful reader: one record at a time, for files that the fast path refused.

`read` yields each record of a file, good or bad, with its place; `faults` has what can be wrong with one, `canonical`
what is made of the good ones.
"""
