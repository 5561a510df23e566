"""Fanfold measured, beside its peers and against itself."""
