"""A command of ours in front of a command of fairseq's."""

import click


class PassingOn(click.Command):
    """A command that hands everything after ``--`` to ``flags``, untouched."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:at])
        ctx.params["flags"] = args[at + 1 :]
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- FAIRSEQ_FLAGS...]"]
