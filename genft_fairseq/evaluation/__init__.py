"""Measures of what a model generates, as the papers define them."""
