"""Converting checkpoints: fairseq to and from transformers, and averaging."""
