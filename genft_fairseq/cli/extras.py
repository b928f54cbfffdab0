"""What only some commands need, and whoever installs the package may leave out."""

import importlib.util
from collections.abc import Mapping

from genft_fairseq.errors import UserError


def require_extra(command: str, libraries: Mapping[str, str], extra: str) -> None:
    """Refuse to begin what could not be finished.

    Args:
        command: what needs the libraries.
        libraries: by the names that they are imported by, those that they are installed by.
        extra: of our distribution, which installs them.

    Raises:
        UserError: one is not there.
    """
    missing = [name for module, name in libraries.items() if not importlib.util.find_spec(module)]
    if missing:
        raise UserError(
            f"{command} needs {' and '.join(missing)}: pip install 'genft_fairseq[{extra}]'"
        )
