"""Draws what growth.py has measured, which comes as JSON: python benchmarks/plot.py TARGET.svg < MEASURED."""

import json
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt

mpl.rcParams["svg.hashsalt"] = "fanfold"
measured = json.load(sys.stdin)
figure, rows = plt.subplots(2, len(measured), figsize=(4 * len(measured), 6), layout="constrained")
for one, wall, peak in zip(measured, *rows, strict=True):
    least, median, most = zip(*one["wall"], strict=True)
    wall.fill_between(one["values"], least, most, alpha=0.2)
    wall.plot(one["values"], median, marker="o")
    peak.plot(one["values"], one["peak"], marker="o", color="tab:red")
    for axes, label in ((wall, "wall seconds"), (peak, "peak MB of a process")):
        axes.set(xlabel=one["axis"], ylabel=label, ylim=(0, None))
        if one["axis"] != "share of the data":
            axes.set_xscale("log")
        axes.grid(alpha=0.3)
figure.savefig(sys.argv[1], metadata={"Date": None})
