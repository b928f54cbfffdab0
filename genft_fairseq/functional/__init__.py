"""The mathematics, on tensors alone: nothing here knows fairseq."""
