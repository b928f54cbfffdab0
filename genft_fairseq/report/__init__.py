"""Runs of training, what they cost and what they wrote, on one page."""
