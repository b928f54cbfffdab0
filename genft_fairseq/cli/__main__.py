"""``python -m genft_fairseq.cli``: the ``genft`` command where it is not installed."""

from genft_fairseq.cli import main

main()
