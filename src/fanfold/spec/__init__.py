"""The spec of a feed: its model, how its YAML is read and written, and what is said of a wrong one.

It knows nothing of a run.
"""
