"""A first spec from sample files: which files and how much of each, what is in them, what follows, how it is written.

Nothing of the samples is moved or changed. What is said of them is true of the part that was read.
"""
