"""``genft export-hf``: a model trained by fairseq as a folder for transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from genft_fairseq.cli.measuring import json_option, tell
from genft_fairseq.cli.progress_bar import shown_steps
from genft_fairseq.errors import UserError

FOLDER = click.Path(path_type=Path)
OF_GPT2 = ("gpt2_bpe", "endoftext")
# What was made, as it is printed: for machines, and in lines.
Made = tuple[dict[str, Any], list[str]]


@click.command("export-hf")
@click.argument("checkpoint", type=FOLDER)
@click.argument("out_dir", type=FOLDER)
@click.option(
    "--gpt2-bpe",
    type=FOLDER,
    help="Of a GPT-2: folder of the tokeniser, such as genft import-hf's, where CHECKPOINT's has "
    "none.",
)
@click.option(
    "--data",
    type=FOLDER,
    help="Folder it was trained on, for dictionary and tokeniser (default: the one that "
    "CHECKPOINT names).",
)
@click.option(
    "--endoftext",
    type=click.Choice(["own", "line-end"]),
    default="own",
    show_default=True,
    help="Of a GPT-2: which row becomes <|endoftext|>: its own, or that of </s>, which ended the "
    "lines.",
)
@json_option
@click.pass_context
def export_hf(
    context: click.Context,
    checkpoint: Path,
    out_dir: Path,
    gpt2_bpe: Path | None,
    data: Path | None,
    endoftext: str,
    as_json: bool,
) -> None:
    """Turn CHECKPOINT, of a model that genft import-hf knows, into OUT_DIR for transformers.

    \b
    genft export-hf scalegrad/checkpoint_best.pt gpt2-scalegrad/ --gpt2-bpe gpt2-fairseq/
    AutoModelForCausalLM.from_pretrained("gpt2-scalegrad/")
    genft export-hf summaries/checkpoint_best.pt t5-summaries/
    AutoModelForSeq2SeqLM.from_pretrained("t5-summaries/")

    fairseq ends lines with </s>, which transformers' GPT-2 does not have. By default it is left
    out, and all tokens have the logits that they have in fairseq. With --endoftext line-end it
    takes the place of <|endoftext|>, so that a model trained on lines ends them.
    """
    # Imported here: they bring in fairseq, which --help does not need.
    from genft_fairseq.convert import encoder_decoder_checkpoint
    from genft_fairseq.convert.checkpoints import read_trained
    from genft_fairseq.convert.huggingface_folder import require_transformers
    from genft_fairseq.files import require_new

    require_new(out_dir)  # before the work, not after it
    require_transformers()
    with shown_steps(as_json, "reading") as begin:
        trained = read_trained(checkpoint)
        if trained.arch in encoder_decoder_checkpoint.ARCHITECTURES:
            _refuse_flags_of_gpt2(context, trained)
            done, lines = _export_encoder_decoder(trained, out_dir, begin, data)
        else:
            done, lines = _export_gpt2(trained, out_dir, begin, gpt2_bpe, data, endoftext)
    tell(as_json, done, *lines)


def _refuse_flags_of_gpt2(context: click.Context, trained: Any) -> None:
    for name in OF_GPT2:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = "--" + name.replace("_", "-")
            given = context.params[name]
            raise click.UsageError(
                f"{flag} {given} is for a GPT-2, but {trained.path} is a {trained.arch}"
            )


def _export_encoder_decoder(
    trained: Any, out_dir: Path, begin: Callable[[str], None], data: Path | None
) -> Made:
    from genft_fairseq.convert import encoder_decoder_checkpoint
    from genft_fairseq.convert.encoder_decoder import write_tokenisers
    from genft_fairseq.convert.huggingface_folder import save_model
    from genft_fairseq.files import atomic_folder

    checkpoint = trained.path
    described = encoder_decoder_checkpoint.read_description(trained)
    folders = [data] if data else [f for f in (trained.data, checkpoint.parent) if f is not None]
    found = [folder for folder in folders if any(folder.glob("tokenizer*.json"))]
    if not found:
        looked = " nor ".join(map(str, folders))
        raise UserError(
            f"no tokenizer.json of {checkpoint}: neither {looked} has one; add --data DIR"
        )
    model = encoder_decoder_checkpoint.to_hugging_face(trained, described)
    begin("writing")
    with atomic_folder(out_dir) as folder:
        save_model(model, folder)
        write_tokenisers(found[0], described, folder)
    count = sum(parameter.numel() for parameter in model.parameters())
    kind = described.model_type
    return {"output": str(out_dir), "model_type": kind, "parameters": count}, [
        f"{out_dir}: {kind}, {count:,} parameters; "
        f"go on: AutoModelForSeq2SeqLM.from_pretrained({str(out_dir)!r})"
    ]


def _export_gpt2(
    trained: Any,
    out_dir: Path,
    begin: Callable[[str], None],
    gpt2_bpe: Path | None,
    data: Path | None,
    endoftext: str,
) -> Made:
    from genft_fairseq.convert import gpt2, gpt2_tokeniser
    from genft_fairseq.convert.gpt2 import read_gpt2, to_hugging_face
    from genft_fairseq.files import atomic_folder

    checkpoint = trained.path
    settings = read_gpt2(trained)
    dictionary = _dictionary(checkpoint, trained.data, data)
    gpt2_tokeniser.require_same_dictionary(dictionary, settings.vocabulary)
    tokeniser = gpt2_tokeniser.require_tokeniser(checkpoint.parent, gpt2_bpe)
    tokeniser.require_size(settings.vocabulary)
    end = tokeniser.end_of_text
    line_end_at = end if endoftext == "line-end" else None
    weights = to_hugging_face(trained.weights, settings.layers, line_end_at)
    begin("writing")
    with atomic_folder(out_dir) as folder:
        gpt2.write_model(settings, weights, end, folder)
        gpt2_tokeniser.write_for_hugging_face(tokeniser, folder, settings.positions)
    count = sum(w.numel() for name, w in weights.items() if name != "lm_head.weight")
    done = {
        **{"output": str(out_dir), "model_type": "gpt2", "parameters": count},
        **{"tokens": settings.vocabulary, "positions": settings.positions, "endoftext": endoftext},
    }
    return done, [
        f"{out_dir}: {count:,} parameters, {settings.vocabulary:,} tokens, "
        f"{settings.positions:,} positions; "
        f"go on: AutoModelForCausalLM.from_pretrained({str(out_dir)!r})",
        *_rows_apart(trained.weights["decoder.embed_tokens.weight"], end, endoftext),
    ]


def _dictionary(checkpoint: Path, trained_on: Path | None, given: Path | None) -> Path:
    """The dictionary is not in the checkpoint, and another order would make another model."""
    folders = [given] if given else [trained_on, checkpoint.parent]
    paths = [folder / "dict.txt" for folder in folders if folder is not None]
    for path in paths:
        if path.is_file():
            return path
    if given:
        raise UserError(f"--data {given} has no dict.txt")
    looked = " nor ".join(map(str, paths))
    raise UserError(f"no dictionary of {checkpoint}: neither {looked} is there; add --data DIR")


def _rows_apart(embedding: Any, end: int, endoftext: str) -> list[str]:
    from genft_fairseq.convert.gpt2 import LINE_END, SYMBOLS

    if bool((embedding[LINE_END] == embedding[SYMBOLS + end]).all()):
        return []
    written, left_out = ("</s>'s", "its own") if endoftext == "line-end" else ("its own", "</s>'s")
    return [
        f"training moved the rows of <|endoftext|> and </s> apart: <|endoftext|> has {written}, "
        f"{left_out} is left out (--endoftext)"
    ]
