"""The model reading its own output."""
