"""Tiny encoder-decoders as transformers saves them, with tokenisers of their own; no download."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn

TEXT = [
    "the cat sat on the mat , and the dog did not .",
    "a summary of the day : the cat sat , the dog ran .",
    "nobody reads the news in the rain ; everybody reads it in the sun .",
    "question : who sat on the mat ? title : the cat . context : a mat .",
]
KINDS = (*("t5", "t5_v1_1", "bart", "bert2bert", "bert2gpt2", "roberta2roberta"),)


def subwords(begins: str, continues: str) -> list[str]:
    """Letters, at the beginning of a word and within, and the words: the most frequent first.

    The trainers of these pieces draw among those of equal weight: every run would have others.
    """
    words = [word for line in TEXT for word in line.split()]
    counted = Counter(begins + word for word in words)
    letters = Counter(begins + word[0] for word in words)
    letters.update(continues + letter for word in words for letter in word[1:])
    return [subword for subword, _ in (letters | counted).most_common()]


def save_tokeniser(folder: Path, kind: str) -> Tokenizer:
    """Write the kind of tokeniser that such models have, made from a few lines."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind.startswith("t5"):
        special = ["<pad>", "</s>", "<unk>"]
        scores = [(subword, -2 - i / 10) for i, subword in enumerate(subwords("▁", ""))]
        unscored = [(token, 0.0) for token in special]
        tokenizer = Tokenizer(models.Unigram([*unscored, *scores], unk_id=2))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        tokenizer.add_special_tokens(special)
        frame, tokens = "$A </s>", [("</s>", 1)]
    elif kind == "bert":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        vocabulary = {subword: i for i, subword in enumerate([*special, *subwords("", "##")])}
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.add_special_tokens(special)
        frame, tokens = "[CLS] $A [SEP]", [("[CLS]", 2), ("[SEP]", 3)]
    else:  # byte-level: BART, RoBERTa, GPT-2
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        special = ["<s>", "<pad>", "</s>", "<unk>"] if kind != "gpt2" else []
        trainer = trainers.BpeTrainer(
            vocab_size=290,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        frame, tokens = "<s> $A </s>", [("<s>", 0), ("</s>", 2)]
        tokenizer.train_from_iterator(TEXT, trainer)
    if kind == "gpt2":
        tokenizer.add_special_tokens(["<|endoftext|>"])
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=frame, special_tokens=tokens
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def _config(kind: str, size: int, **more: Any) -> Any:
    if kind.startswith("t5"):
        gated = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
        return transformers.T5Config(
            **{
                **{"vocab_size": size, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2},
                **{"num_heads": 4, "relative_attention_num_buckets": 8, "num_decoder_layers": 3},
                **{"relative_attention_max_distance": 10, "decoder_start_token_id": 0},
                **(gated if kind == "t5_v1_1" else {}),
                **more,
            }
        )
    if kind == "bart":
        return transformers.BartConfig(
            **{
                **{"vocab_size": size, "d_model": 16, "max_position_embeddings": 40},
                **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
                **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
                **{f"{side}_ffn_dim": 24 for side in ("encoder", "decoder")},
                **more,
            }
        )
    if kind == "gpt2":
        last = {"bos_token_id": size - 1, "eos_token_id": size - 1}
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40, "n_inner": 24}
        return transformers.GPT2Config(**{"vocab_size": size, **last, **sizes, **more})
    whole = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}[kind]
    return whole(
        **{
            **{"vocab_size": size, "num_hidden_layers": 2, "num_attention_heads": 4},
            **{"intermediate_size": 24, "max_position_embeddings": 42, "type_vocab_size": 2},
            "hidden_size": 16,
            **more,
        }
    )


def save_half(folder: Path, kind: str, **more: Any) -> Any:
    """Write a BERT, RoBERTa or GPT-2 as it is pretrained, without cross-attention."""
    tokenizer = save_tokeniser(folder, kind)
    config = _config(kind, tokenizer.get_vocab_size(), **more)
    name = {"bert": "BertForPreTraining", "roberta": "RobertaForMaskedLM"}.get(kind)
    model = getattr(transformers, name or "GPT2LMHeadModel")(config)
    shake(model)
    model.save_pretrained(folder)
    return model.eval()


@torch.no_grad()
def shake(model: nn.Module) -> None:
    """Move parameters and constants away from 0 and 1, and logits apart."""
    generator = torch.Generator().manual_seed(0)
    for value in [*model.parameters(), *model.buffers()]:
        if value.is_floating_point():
            value += 0.3 * torch.randn(value.shape, generator=generator)


def save(folder: Path, kind: str, **more: Any) -> Any:
    """Write an encoder-decoder with random parameters, and its tokenisers.

    Those of a model with two vocabularies lie in ``source/`` and ``target/``.
    """
    if "2" not in kind:
        tokenizer = save_tokeniser(folder, kind)
        # T5 has rows that no piece has.
        size = tokenizer.get_vocab_size() + (5 if kind.startswith("t5") else 0)
        config = _config(kind, size, **more)
        name = "T5" if kind.startswith("t5") else "Bart"
        model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
        if kind == "t5_v1_1":
            model.lm_head.weight = nn.Parameter(torch.randn_like(model.lm_head.weight))
    else:
        encoder, decoder = kind.split("2", 1)
        tokenizer = save_tokeniser(folder / "source", encoder)
        source_size = target_size = tokenizer.get_vocab_size()
        start, end, pad = 2, 3, 0
        if encoder == "roberta":
            start, end, pad = 0, 2, 1
        if decoder != encoder:
            target_size = save_tokeniser(folder / "target", decoder).get_vocab_size()
            start = end = target_size - 1
        else:
            save_tokeniser(folder, encoder)
        config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
            _config(encoder, source_size, **({"hidden_size": 12} if decoder == "gpt2" else {})),
            _config(decoder, target_size),
            decoder_start_token_id=start,
            eos_token_id=end,
            pad_token_id=pad,
        )
        config.decoder.is_decoder = config.decoder.add_cross_attention = True
        model = transformers.EncoderDecoderModel(config)
    shake(model)
    model.eval().save_pretrained(folder)
    return model
