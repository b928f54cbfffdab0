"""Experiments: strategies, their runs, and their comparison."""
