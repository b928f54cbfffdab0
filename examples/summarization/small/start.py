"""Makes a small T5 of random parameters, with a tokeniser of its own, as transformers saves one.

python examples/summarization/small/start.py TEXT... --output FOLDER

It stands where a pretrained model would: genft import-hf takes the folder as it takes any T5.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

import click
import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import T5Config, T5ForConditionalGeneration

from genft_fairseq.files import atomic_folder

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SPECIAL = ["<pad>", "</s>", "<unk>"]


@click.command()
@click.argument("texts", type=FILE, nargs=-1, required=True)
@click.option("--vocabulary", type=click.IntRange(min=300), default=4000, show_default=True)
@click.option("--width", type=click.IntRange(min=8), default=128, show_default=True)
@click.option("--layers", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(
    texts: tuple[Path, ...], vocabulary: int, width: int, layers: int, seed: int, output: Path
) -> None:
    tokenizer = learn_tokeniser(texts, vocabulary)
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=width,
        d_kv=32,
        d_ff=4 * width,
        num_layers=layers,
        num_heads=width // 32,
        dropout_rate=0.1,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config)
    with atomic_folder(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"))
    print(f"{output}: {model.num_parameters():,} parameters, {config.vocab_size:,} tokens")


def learn_tokeniser(texts: tuple[Path, ...], vocabulary: int) -> Tokenizer:
    """Learn pieces as T5's are (Kudo, 2018, arXiv:1804.10959), framed as T5 frames them.

    The trainer takes no seed: on the same text it may number the pieces, and round their scores,
    otherwise.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator((line for path in texts for line in lines(path)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def lines(path: Path) -> Iterator[str]:
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        for line in file:
            if line.strip():
                yield line.strip()


if __name__ == "__main__":
    main()
