"""Metrics: texts, token ids or scores in, numbers out."""
