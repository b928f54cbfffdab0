"""``genft import-hf`` and ``export-hf``: the same function, token for token."""

import copy
import gzip
import shutil

import pytest
import torch
from fairseq.data.encoders.gpt2_bpe import GPT2BPE, GPT2BPEConfig
from refusals import assert_names
from tiny_gpt2 import (
    END_OF_TEXT,
    VOCABULARY,
    altered,
    call,
    hugging_face_folder,
    largest_difference,
    load,
    refusal,
    save_gpt2,
    write_tokeniser,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, GPT2Model

from genft_fairseq.generation.rollout import continue_prefixes

BOS, PAD, EOS = 0, 1, 2
TEXT = "The end\u2014and\tthe  \u00fcbung in \u6226\u5834\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder of transformers', its model, and what import-hf makes of it."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("original")
    model = hugging_face_folder(folder / "hf")
    call("import-hf", folder / "hf", folder / "fairseq")
    return folder, model


@pytest.fixture
def folder(original, tmp_path):
    """A copy of the folder of transformers', to break."""
    return shutil.copytree(original[0] / "hf", tmp_path / "hf")


def fairseq_bpe(folder):
    files = {"gpt2_encoder_json": "encoder.json", "gpt2_vocab_bpe": "vocab.bpe"}
    return GPT2BPE(GPT2BPEConfig(**{flag: str(folder / name) for flag, name in files.items()}))


def draw(*shape: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, shape)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"activation_function": "gelu", "n_inner": 48, "n_head": 2},
        {"activation_function": "relu", "n_layer": 3, "n_positions": 40},
        {"activation_function": "gelu_pytorch_tanh", "attn_pdrop": 0.3, "resid_pdrop": 0.2},
    ],
    ids=lambda config: config.get("activation_function", "gelu_new"),
)
def test_the_logits_are_the_originals(config, tmp_path):
    """On every token and every position; and back again, bit for bit."""
    original = hugging_face_folder(tmp_path / "hf", **config)
    call("import-hf", tmp_path / "hf", tmp_path / "fairseq")
    model, _ = load(tmp_path / "fairseq" / "model.pt")
    ids = draw(4, original.config.n_positions)
    assert model.max_positions() == original.config.n_positions
    assert largest_difference(model, original, ids) < 1e-5
    assert original(ids).logits.std() > 1  # or the difference would say nothing

    call("export-hf", tmp_path / "fairseq" / "model.pt", tmp_path / "back")
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "back", local_files_only=True)
    assert back.state_dict().keys() == original.state_dict().keys()
    for name, value in original.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    for name in ("n_inner", "n_positions", "attn_pdrop", "resid_pdrop", "eos_token_id"):
        assert getattr(back.config, name) == getattr(original.config, name), name


def test_the_end_of_a_line_is_read_as_the_end_of_a_text(original):
    folder, gpt2 = original
    model, _ = load(folder / "fairseq" / "model.pt")
    ids = draw(3, 12)
    ids[:, 0] = END_OF_TEXT
    for symbol in (EOS, BOS):
        tokens = ids + 4
        tokens[:, 0] = symbol
        ours = model(tokens)[0]
        torch.testing.assert_close(ours[..., 4:], gpt2(ids).logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours[..., EOS], ours[..., 4 + END_OF_TEXT] - 1)


def test_the_probabilities_differ_by_the_end_of_a_line_alone(original):
    """By 1 / (1 + p / e), as ``symbol_bias`` says."""
    folder, gpt2 = original
    model, _ = load(folder / "fairseq" / "model.pt")
    ids = draw(3, 12)
    ours = model.get_normalized_probs(model(ids + 4), log_probs=False)
    theirs = gpt2(ids).logits.softmax(-1)
    factor = 1 / (1 + theirs[..., END_OF_TEXT, None] / torch.e)
    torch.testing.assert_close(ours[..., 4:], theirs * factor, rtol=1e-3, atol=1e-6)


def test_greedy_text_is_the_originals_token_for_token(original):
    """By the plugin's own decoding and by fairseq's generator; the end of a text is a token."""
    folder, gpt2 = original
    model, task = load(folder / "fairseq" / "model.pt")
    ids = draw(5, 6)
    ids[:, 0] = END_OF_TEXT
    gpt2.generation_config.eos_token_id = None
    whole = gpt2.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=50, do_sample=False, pad_token_id=0
    )
    want = whole[:, 6:]
    assert want.shape == (5, 50) and len(want.unique()) > 20
    prefix = torch.cat([torch.full((5, 1), EOS), ids[:, 1:] + 4], dim=1)
    assert torch.equal(continue_prefixes(model, prefix, 50, PAD) - 4, want)

    from fairseq.dataclass.configs import GenerationConfig

    settings = GenerationConfig(beam=1, min_len=55, max_len_b=55, max_len_a=0)
    sample = {"net_input": {"src_tokens": prefix, "src_lengths": torch.full((5,), 6)}}
    found = task.inference_step(task.build_generator([model], settings), [model], sample)
    assert torch.equal(torch.stack([row[0]["tokens"][5:55] for row in found]) - 4, want)


def test_text_has_the_same_numbers_everywhere(original, tmp_path):
    """fairseq's BPE and dictionary, the original tokeniser, and the exported one."""
    folder, _ = original
    files = folder / "fairseq"
    bpe = fairseq_bpe(files)
    _, task = load(files / "model.pt")
    indices = task.dictionary.encode_line(bpe.encode(TEXT), append_eos=False).long()
    call("export-hf", files / "model.pt", tmp_path / "back")
    for place in (folder / "hf", tmp_path / "back"):
        tokeniser = AutoTokenizer.from_pretrained(place, local_files_only=True)
        assert tokeniser(TEXT)["input_ids"] == (indices - 4).tolist()
        assert tokeniser.eos_token_id == END_OF_TEXT
    assert bpe.decode(task.dictionary.string(indices)) == TEXT
    assert len(indices) < len(TEXT.encode())  # some pieces were merged


# --- the folders that there are ------------------------------------------------------------------


def use_shards(folder, model):
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").exists()


def use_pickle(folder, model):
    """As early checkpoints are: the masks beside the parameters."""
    (folder / "model.safetensors").unlink()
    masks = {"transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64).tril()}
    torch.save({**model.state_dict(), **masks}, folder / "pytorch_model.bin")


def use_base_model(folder, model):
    """As GPT-2's own are: without the language model's name in front."""
    model.transformer.save_pretrained(folder)
    assert GPT2Model.from_pretrained(folder) is not None


def use_tokenizer_json(folder, model):
    AutoTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(folder)
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()
    assert (folder / "tokenizer.json").exists()


def use_openai_files(folder, model):
    (folder / "vocab.json").rename(folder / "encoder.json")
    (folder / "merges.txt").rename(folder / "vocab.bpe")


@pytest.mark.parametrize(
    "change", [use_shards, use_pickle, use_base_model, use_tokenizer_json, use_openai_files]
)
def test_every_kind_of_folder(change, original, folder, tmp_path):
    change(folder, original[1])
    call("import-hf", folder, tmp_path / "fairseq")
    for name in ("dict.txt", "encoder.json", "vocab.bpe"):
        assert (tmp_path / "fairseq" / name).read_text() == (
            original[0] / "fairseq" / name
        ).read_text()
    got, want = (load(place / "fairseq" / "model.pt")[0] for place in (tmp_path, original[0]))
    for name, value in want.state_dict().items():
        assert torch.equal(got.state_dict()[name], value), name


def test_half_precision(original, folder, tmp_path):
    copy.deepcopy(original[1]).half().save_pretrained(folder)
    call("import-hf", folder, tmp_path / "fairseq")
    model, _ = load(tmp_path / "fairseq" / "model.pt")
    rounded = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)
    assert largest_difference(model, rounded, draw(2, 30)) < 1e-5
    state = torch.load(tmp_path / "fairseq" / "model.pt", weights_only=False)
    state["model"] = {name: value.half() for name, value in state["model"].items()}
    torch.save(state, tmp_path / "fairseq" / "half.pt")
    call("export-hf", tmp_path / "fairseq" / "half.pt", tmp_path / "back")
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "back", dtype="auto")
    assert back.dtype == torch.float16
    for name, value in rounded.state_dict().items():
        assert torch.equal(back.state_dict()[name].float(), value), name


@pytest.mark.realdata
def test_gpt2s_own_tokeniser(realdata, tmp_path):
    """The published files, their 50,257 pieces, and a text in many scripts."""
    files = tmp_path / "bpe"
    files.mkdir()
    for name in ("encoder.json", "vocab.bpe"):
        content = gzip.decompress((realdata / "gpt2_bpe" / f"{name}.gz").read_bytes())
        (files / name).write_bytes(content)
    original = save_gpt2(tmp_path / "hf", 50_257, n_embd=16)
    assert_names(refusal("import-hf", tmp_path / "hf", tmp_path / "no"), tmp_path / "hf")
    call("import-hf", tmp_path / "hf", tmp_path / "fairseq", "--gpt2-bpe", files)
    for name in ("encoder.json", "vocab.bpe"):
        assert (tmp_path / "fairseq" / name).read_bytes() == (files / name).read_bytes(), name
    model, task = load(tmp_path / "fairseq" / "model.pt")
    bpe = fairseq_bpe(files)
    indices = task.dictionary.encode_line(bpe.encode(TEXT), append_eos=False).long()
    assert largest_difference(model, original, (indices - 4)[None]) < 1e-5
    call("export-hf", tmp_path / "fairseq" / "model.pt", tmp_path / "back")
    tokeniser = AutoTokenizer.from_pretrained(tmp_path / "back", local_files_only=True)
    assert tokeniser(TEXT)["input_ids"] == (indices - 4).tolist()
    assert tokeniser("Hello world<|endoftext|>")["input_ids"] == [15496, 995, 50256]


def test_the_row_of_the_end_of_a_text_is_chosen(original, tmp_path):
    """Where training moved it and the end of a line apart, either can be written."""

    def change(state):
        state["model"]["decoder.embed_tokens.weight"][EOS] = 7

    folder = altered(original[0] / "fairseq", tmp_path / "fairseq", change)
    own = original[1].transformer.wte.weight
    for choice, row in (("own", own[END_OF_TEXT]), ("line-end", torch.full((32,), 7.0))):
        out = tmp_path / choice
        assert "<|endoftext|>" in call("export-hf", folder / "model.pt", out, "--endoftext", choice)
        back = AutoModelForCausalLM.from_pretrained(out)
        assert torch.equal(back.transformer.wte.weight[END_OF_TEXT], row)
        assert torch.equal(back.transformer.wte.weight[:-1], own[:-1])
        assert torch.equal(back.lm_head.weight, back.transformer.wte.weight)
    said = call("export-hf", original[0] / "fairseq" / "model.pt", tmp_path / "same")
    assert "<|endoftext|>" not in said


def test_another_spelling_of_the_tokeniser_is_given(original, folder, tmp_path):
    files = tmp_path / "bpe"
    files.mkdir()
    write_tokeniser(files, ("encoder.json", "vocab.bpe"))
    (folder / "vocab.json").unlink()
    said = call("import-hf", folder, tmp_path / "out", "--gpt2-bpe", files)
    assert "--finetune-from-model" in said and "--max-target-positions 64" in said
