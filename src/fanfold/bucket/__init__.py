"""A feed in a bucket: the door to the object store, and what is built on it.

Only `objects` knows a library of object stores. Nothing here knows what a step does.
"""
