"""``genft import-hf``: a GPT-2 of transformers' as a fairseq checkpoint."""

import shlex
from pathlib import Path

import click


@click.command("import-hf")
@click.argument("hf_dir", type=click.Path(path_type=Path))
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option(
    "--gpt2-bpe",
    type=click.Path(path_type=Path),
    help="Folder of the tokeniser, such as encoder.json and vocab.bpe, where HF_DIR has none.",
)
def import_hf(hf_dir: Path, out_dir: Path, gpt2_bpe: Path | None) -> None:
    """Turn HF_DIR, a GPT-2 or DistilGPT-2 that transformers saved, into OUT_DIR for fairseq.

    \b
    genft import-hf gpt2/ gpt2-fairseq/
    fairseq-preprocess --only-source --srcdict gpt2-fairseq/dict.txt --trainpref ...
    fairseq-train DATA --arch gpt2 --finetune-from-model gpt2-fairseq/model.pt ...

    OUT_DIR, which must be new, gets model.pt, dict.txt (GPT-2's numbers) and the tokeniser's files
    encoder.json and vocab.bpe. Nothing is fetched, and no code of HF_DIR's is run.
    """
    # Imported here: they bring in fairseq, which --help does not need.
    from genft_fairseq.interchange import gpt2_tokeniser, hugging_face_folder
    from genft_fairseq.interchange.gpt2_checkpoint import write_gpt2
    from genft_fairseq.interchange.hugging_face_gpt2 import architecture_flags, to_fairseq
    from genft_fairseq.interchange.whole_folder import require_new, written_whole

    require_new(out_dir)  # before the work, not after it
    settings, config = hugging_face_folder.read_settings(hf_dir)
    tokeniser = gpt2_tokeniser.require_tokeniser(hf_dir, gpt2_bpe)
    tokeniser.require_size(settings.vocabulary)
    weights = to_fairseq(
        hugging_face_folder.read_weights(hf_dir, config), settings.layers, tokeniser.end_of_text
    )
    with written_whole(out_dir) as folder:
        gpt2_tokeniser.write_for_fairseq(tokeniser, folder)
        count = write_gpt2(settings, weights, folder, out_dir.resolve())
    click.echo(
        f"{out_dir / 'model.pt'}: {count:,} parameters, {settings.vocabulary:,} tokens and "
        f"fairseq's four, {settings.positions:,} positions"
    )
    flags = ["--finetune-from-model", str(out_dir / "model.pt"), *architecture_flags(settings)]
    click.echo(
        f"go on (DATA: fairseq-preprocess --srcdict {shlex.quote(str(out_dir / 'dict.txt'))}): "
        f'fairseq-train DATA --user-dir "$(genft user-dir)" --task language_modeling '
        f"{shlex.join(flags)} --criterion scalegrad ..."
    )
