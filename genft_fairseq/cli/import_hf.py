"""``genft import-hf``: a model of transformers' as a fairseq checkpoint."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from genft_fairseq.cli.measuring import json_option, tell
from genft_fairseq.cli.progress_bar import shown_steps

FOLDER = click.Path(path_type=Path)
# Architecture and task of an encoder-decoder.
KIND = ("hugging_face", "translation")
# The flags of each kind of model besides; those of the other kinds are refused.
OWN = {
    "a GPT-2": ("gpt2_bpe",),
    "an encoder": ("tokeniser", "passages", "pooling"),
    "an encoder-decoder": ("decoder", "seed", "tokeniser", "target_tokeniser", "passages"),
}
# Passages a question for which a bi-encoder's data have symbols: what FiD's files hold.
PASSAGES = 100
# What was made, as it is printed: for machines, and in lines.
Made = tuple[dict[str, Any], list[str]]


@click.command("import-hf")
@click.argument("hf_dir", type=FOLDER)
@click.argument("out_dir", type=FOLDER)
@click.option(
    "--gpt2-bpe",
    type=FOLDER,
    help="Of a GPT-2: folder of the tokeniser, such as encoder.json and vocab.bpe, where HF_DIR "
    "has none.",
)
@click.option(
    "--decoder",
    type=FOLDER,
    help="A BERT, RoBERTa or GPT-2 that shall write what HF_DIR, a BERT or RoBERTa, reads; its "
    "cross-attention begins at random. The same folder twice makes a BERT2BERT.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    help="With --decoder: of what begins at random.",
)
@click.option("--tokeniser", type=FOLDER, help="Folder of tokenizer.json, where HF_DIR has none.")
@click.option(
    "--target-tokeniser",
    type=FOLDER,
    help="The same of what is written, where it is another one (default: --decoder's, or the "
    "same).",
)
@click.option(
    "--passages",
    type=click.IntRange(min=1),
    help="Add the symbols of Fusion-in-Decoder, for so many passages a question (of an encoder: "
    f"{PASSAGES} by default).",
)
@click.option(
    "--pooling",
    type=click.Choice(["mean", "first"]),
    help="Vector of a text, for an encoder whose folder does not define it: mean over the tokens "
    "(default), or the first token's (CLS).",
)
@json_option
@click.pass_context
def import_hf(
    context: click.Context, hf_dir: Path, out_dir: Path, as_json: bool, **options: Any
) -> None:
    """Turn HF_DIR, a model that transformers saved, into OUT_DIR for fairseq.

    \b
    genft import-hf gpt2/ gpt2-fairseq/
    fairseq-preprocess --only-source --srcdict gpt2-fairseq/dict.txt --trainpref ...
    fairseq-train DATA --arch gpt2 --finetune-from-model gpt2-fairseq/model.pt ...

    \b
    genft import-hf t5-small/ t5-fairseq/
    genft import-hf bert-small/ bert2bert/ --decoder bert-small/
    data-prep/prepare-summaries.sh --model t5-fairseq ...
    fairseq-train DATA --arch hugging_face --hugging-face t5-fairseq \\
        --finetune-from-model t5-fairseq/model.pt ...

    \b
    genft import-hf all-MiniLM-L6-v2/ minilm/
    genft retrieve psgs.tsv --method dense --path minilm/ ...
    fairseq-train DATA --task retrieval --arch bi_encoder --hugging-face minilm \\
        --finetune-from-model minilm/model.pt ...

    Known are GPT-2, T5 (v1.0 and v1.1), BART, encoder-decoders of BERT and RoBERTa with one of
    them or GPT-2, and BERT and RoBERTa alone, also in a folder of sentence-transformers, as
    encoders of questions and passages. OUT_DIR, which must be new, gets model.pt, dict.txt
    (transformers' numbers of the tokens), and the tokeniser's files; of any but a GPT-2 also
    hugging_face.json, which describes it. Nothing is fetched, and no code of HF_DIR's is run.
    """
    # Imported here: they bring in fairseq, which --help does not need.
    from genft_fairseq.convert.huggingface_folder import read_config
    from genft_fairseq.convert.sentence_encoder import encoder_folder
    from genft_fairseq.files import require_new
    from genft_fairseq.models.huggingface.architectures import ENCODERS

    require_new(out_dir)  # before the work, not after it
    model_type = read_config(encoder_folder(hf_dir)).get("model_type")
    kind = "an encoder-decoder"
    if options["decoder"] is None and model_type in ("gpt2", *ENCODERS):
        kind = "a GPT-2" if model_type == "gpt2" else "an encoder"

    given = {
        name: options[name]
        for name in options
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for name, value in given.items():
        if name not in OWN[kind]:
            what = " or ".join(other for other, names in OWN.items() if name in names)
            flag = "--" + name.replace("_", "-")
            raise click.UsageError(f"{flag} {value} is for {what}, but {hf_dir} is {kind}")
    if options["decoder"] is None and "seed" in given:
        raise click.UsageError(f"--seed {options['seed']} needs --decoder: nothing else is random")
    own = {name: options[name] for name in OWN[kind]}
    make: dict[str, Callable[..., Made]] = {
        "a GPT-2": _import_gpt2,
        "an encoder": _import_encoder,
        "an encoder-decoder": _import_encoder_decoder,
    }
    with shown_steps(as_json, "reading") as begin:
        done, lines = make[kind](hf_dir, out_dir, begin, **own)
    tell(as_json, done, *lines)


def _import_gpt2(
    hf_dir: Path, out_dir: Path, begin: Callable[[str], None], gpt2_bpe: Path | None
) -> Made:
    from genft_fairseq.convert import gpt2, gpt2_tokeniser
    from genft_fairseq.convert.gpt2 import architecture_flags, to_fairseq, write_gpt2
    from genft_fairseq.files import atomic_folder

    settings, config = gpt2.read_settings(hf_dir)
    tokeniser = gpt2_tokeniser.require_tokeniser(hf_dir, gpt2_bpe)
    tokeniser.require_size(settings.vocabulary)
    weights = to_fairseq(gpt2.read_weights(hf_dir, config), settings.layers, tokeniser.end_of_text)
    begin("writing")
    with atomic_folder(out_dir) as folder:
        gpt2_tokeniser.write_for_fairseq(tokeniser, folder)
        count = write_gpt2(settings, weights, folder, out_dir.resolve())
    model = str(out_dir / "model.pt")
    flags = ["--task", "language_modeling", "--finetune-from-model", model]
    flags += architecture_flags(settings)
    done = {
        **{"model": model, "model_type": "gpt2", "parameters": count, "flags": flags},
        **{"symbols": settings.vocabulary, "positions": settings.positions},
    }
    return done, [
        f"{model}: {count:,} parameters, {settings.vocabulary:,} tokens and "
        f"fairseq's four, {settings.positions:,} positions",
        f"go on (DATA: fairseq-preprocess --srcdict {shlex.quote(str(out_dir / 'dict.txt'))}): "
        f'fairseq-train DATA --user-dir "$(genft user-dir)" '
        f"{shlex.join(flags)} --criterion scalegrad ...",
    ]


def _import_encoder(
    hf_dir: Path,
    out_dir: Path,
    begin: Callable[[str], None],
    tokeniser: Path | None,
    passages: int | None,
    pooling: str | None,
) -> Made:
    from genft_fairseq.convert.encoder_decoder_checkpoint import write_encoder
    from genft_fairseq.files import atomic_folder

    with atomic_folder(out_dir) as folder:
        described, count = write_encoder(
            hf_dir, folder, out_dir.resolve(), tokeniser, pooling, passages or PASSAGES
        )
    texts, model = described.texts, str(out_dir / "model.pt")
    assert texts is not None
    flags = ["--task", "retrieval", "--arch", "bi_encoder", "--criterion", "in_batch_negatives"]
    flags += ["--hugging-face", str(out_dir), "--finetune-from-model", model, "--share-encoders"]
    done = {
        **{"model": model, "model_type": described.model_type, "parameters": count},
        **{"flags": flags, "symbols": len(described.source), "pooling": texts.pooling},
        **{"normalize": texts.normalize, "longest": texts.longest},
    }
    return done, [
        f"{model}: {described.model_type}, {count:,} parameters, {len(described.source):,} "
        f"symbols, texts of up to {texts.longest:,} tokens; vector: {texts.pooling}"
        + (", of length 1" if texts.normalize else ""),
        f"search with it: genft retrieve PASSAGES --questions QUESTIONS --method dense --path "
        f"{shlex.quote(str(out_dir))} ...",
        f"go on (DATA: data-prep/prepare-fid.sh --model {shlex.quote(str(out_dir))} ...): "
        f'fairseq-train DATA --user-dir "$(genft user-dir)" -s question -t answer '
        f"{shlex.join(flags)} ...",
    ]


def _import_encoder_decoder(
    hf_dir: Path,
    out_dir: Path,
    begin: Callable[[str], None],
    decoder: Path | None,
    seed: int,
    tokeniser: Path | None,
    target_tokeniser: Path | None,
    passages: int | None,
) -> Made:
    from genft_fairseq.convert import encoder_decoder
    from genft_fairseq.convert.encoder_decoder import read_tokeniser
    from genft_fairseq.convert.encoder_decoder_checkpoint import write_folder
    from genft_fairseq.convert.huggingface_folder import require_transformers
    from genft_fairseq.data.fid_lines import marker_symbols
    from genft_fairseq.files import atomic_folder

    require_transformers()
    source = read_tokeniser(tokeniser or hf_dir, "--tokeniser")
    other = target_tokeniser or decoder
    target = read_tokeniser(other, "--target-tokeniser") if other else source
    fresh: list[str] = []
    if decoder is None:
        model, content = encoder_decoder.load(hf_dir)
    else:
        (model, fresh), content = encoder_decoder.compose(hf_dir, decoder, seed), {}
    added = tuple(marker_symbols(passages)) if passages else ()
    described = encoder_decoder.describe(
        model, content, source, target, added, str(hf_dir / "config.json")
    )
    begin("writing")
    with atomic_folder(out_dir) as folder:
        count = write_folder(model, described, source, target, folder, out_dir.resolve())
    path, kind = str(out_dir / "model.pt"), ("fid_t5", "fid") if passages else KIND
    flags = ["--arch", kind[0], "--task", kind[1], "--hugging-face", str(out_dir)]
    flags += ["--finetune-from-model", path]
    read, written = described.source_positions, described.target_positions
    done = {
        **{"model": path, "model_type": described.model_type, "parameters": count, "flags": flags},
        **{"symbols_read": len(described.source), "symbols_written": len(described.target)},
        **{"positions_read": read, "positions_written": written, "begin_at_random": fresh},
    }
    return done, _lines(out_dir, described, done, seed, bool(passages))


def _lines(out_dir: Path, described: Any, done: dict[str, Any], seed: int, fid: bool) -> list[str]:
    tokens = f"{len(described.target):,} symbols"
    if not described.joined:
        tokens = f"{len(described.source):,} symbols read and {tokens} written"
    positions = [
        "any number of" if n is None else f"{n:,}"
        for n in (done["positions_read"], done["positions_written"])
    ]
    lines = [
        f"{done['model']}: {described.model_type}, {done['parameters']:,} parameters, {tokens}, "
        f"{positions[0]} positions read, {positions[1]} written"
    ]
    if fresh := done["begin_at_random"]:
        lines.append(
            f"begin at random (--seed {seed}): {len(fresh)} parameters, {fresh[0]} the first"
        )
    prepare = "prepare-fid.sh" if fid else "prepare-summaries.sh"
    lines.append(
        f"go on (DATA: data-prep/{prepare} --model {shlex.quote(str(out_dir))} ...): "
        f'fairseq-train DATA --user-dir "$(genft user-dir)" {shlex.join(done["flags"])} '
        "--criterion scalegrad ..."
    )
    return lines
