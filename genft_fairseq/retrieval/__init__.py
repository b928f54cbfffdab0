"""Passage retrieval: BM25, dense search, and passages cut from documents."""
