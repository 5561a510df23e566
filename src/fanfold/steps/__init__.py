"""What a run does, one file for each step: the tasks of the DAG by their ids, and what the command line adds.

Each step may run again at any moment, also after `kill -9`, with the same result. A step is given `data_dir` and what
names its part of the run; what else it needs, it reads from the run's folder.
"""
