"""One door for files of all formats: their records, good and bad, and the rows that are made of them.

It decides nothing about a run, and moves no file. The core in C judges the bytes, `engine/` decodes Parquet.
"""
