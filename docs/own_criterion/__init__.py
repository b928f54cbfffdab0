"""What ``--user-dir docs/own_criterion`` imports: this project, and one criterion more."""

import genft_fairseq  # noqa: F401 (first: it mends fairseq and registers what it has)
from own_criterion import tailr  # noqa: F401
