"""Models between fairseq and transformers, and averages of checkpoints."""
