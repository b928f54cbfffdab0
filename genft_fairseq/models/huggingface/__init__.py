"""Encoder-decoders and encoders imported from transformers."""
