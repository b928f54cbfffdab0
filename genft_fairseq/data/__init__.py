"""Text and binarized examples for reading and retrieval."""
