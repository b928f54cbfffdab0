"""Passages for questions: an index of a passage table, and exact search in it."""
