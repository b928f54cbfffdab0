"""Encoder-decoders of transformers as fairseq models."""
