"""How a model chooses its tokens, from the flags of the criterion that lets it."""

from typing import Any

from genft_fairseq.errors import UserError
from genft_fairseq.generation.token_choice import Search


def search(prefix: str, cfg: Any) -> Search:
    """Make a ``Search`` of ``--PREFIX-search``, ``-temperature``, ``-top-k`` and ``-top-p``.

    Raises:
        UserError: a value out of range, or a flag of sampling without sampling.
    """
    kind = str(getattr(cfg, f"{prefix}_search"))
    values = {name: getattr(cfg, f"{prefix}_{name}") for name in ("temperature", "top_k", "top_p")}
    try:
        chosen = Search(sampling=kind == "sampling", **values)
    except ValueError as error:
        name = str(error).split()[0]
        flag = f"--{prefix}-{name.replace('_', '-')}"
        raise UserError(str(error).replace(name, flag, 1)) from None
    for name, value in values.items():
        if not chosen.sampling and value != getattr(Search, name):
            flag = f"--{prefix}-{name.replace('_', '-')}"
            raise UserError(f"{flag} {value} needs --{prefix}-search sampling, but it is {kind}")
    return chosen
