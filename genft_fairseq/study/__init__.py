"""The fine-tuning strategies by name, and their comparison."""
