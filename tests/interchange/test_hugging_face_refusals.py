"""What ``genft import-hf`` and ``export-hf`` refuse, before anything is written."""

import json
import os
import shutil
import signal

import pytest
import torch
from tiny_gpt2 import END_OF_TEXT, VOCABULARY, altered, call, hugging_face_folder, refusal
from transformers import AutoTokenizer, GPT2LMHeadModel

from genft_fairseq.errors import UserError
from genft_fairseq.interchange.whole_folder import written_whole


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder of transformers', and what import-hf makes of it."""
    folder = tmp_path_factory.mktemp("original")
    hugging_face_folder(folder / "hf")
    call("import-hf", folder / "hf", folder / "fairseq")
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy of the folder of transformers', to break."""
    return shutil.copytree(original / "hf", tmp_path / "hf")


def configured(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def without(*names):
    def change(folder):
        for name in names:
            (folder / name).unlink()

    return change


def numbered(**changes):
    """Change the numbers of pieces; None leaves a piece out."""

    def change(folder):
        path = folder / "vocab.json"
        pieces = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({p: n for p, n in pieces.items() if n is not None}))

    return change


def truncated(folder):
    os.truncate(folder / "model.safetensors", 5000)


def stored(change):
    """Write other parameters into a pickle, in place of the safetensors."""

    def rewrite(folder):
        state = GPT2LMHeadModel.from_pretrained(folder).state_dict()
        (folder / "model.safetensors").unlink()
        change(state)
        torch.save(state, folder / "pytorch_model.bin")

    return rewrite


def prefixed(folder):
    tokeniser = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
    tokeniser.save_pretrained(folder)


REFUSED = {
    "gone": (shutil.rmtree, "{hf} does not exist: name one that holds the model, for nothing"),
    "no config": (without("config.json"), "{hf} has no config.json"),
    "adapter": (
        lambda folder: (folder / "adapter_config.json").touch(),
        "{hf} holds an adapter (adapter_config.json)",
    ),
    "no weights": (
        without("model.safetensors"),
        "{hf} holds no weights: none of model.safetensors",
    ),
    "no tokeniser": (
        without("vocab.json"),
        "{hf} holds no tokeniser: neither tokenizer.json, vocab.json and merges.txt, or "
        "encoder.json and vocab.bpe; add --gpt2-bpe DIR",
    ),
    "no JSON": (lambda folder: os.truncate(folder / "config.json", 9), "config.json is not JSON"),
    "other model": (
        configured(model_type="gpt_neo"),
        "but is gpt_neo",
    ),
    "activation": (configured(activation_function="silu"), "which fairseq has, but is silu"),
    "epsilon": (configured(layer_norm_epsilon=1e-6), "layer_norm_epsilon must be 1e-05, as in"),
    "scale": (configured(scale_attn_weights=False), "scale_attn_weights must be True, as in"),
    "layers": (
        configured(scale_attn_by_inverse_layer_idx=True),
        "scale_attn_by_inverse_layer_idx must be False, as in fairseq's decoder, but is True",
    ),
    "upcast": (configured(reorder_and_upcast_attn=True), "reorder_and_upcast_attn must be False"),
    "cross": (configured(add_cross_attention=True), "add_cross_attention must be False"),
    "untied": (configured(tie_word_embeddings=False), "tie_word_embeddings must be True"),
    "quantised": (configured(quantization_config={"x": 1}), "the weights are quantised"),
    "type": (configured(n_embd="wide"), "config.json is no configuration of a GPT-2 ("),
    "heads": (configured(n_head=5), "n_embd must be a multiple of n_head, but is 32"),
    "vocabulary": (
        configured(vocab_size=9),
        f"has {VOCABULARY} pieces, but the model a vocabulary",
    ),
    "shapes": (configured(n_positions=32), "hold transformer.wpe.weight of shape (64, 32), but"),
    "deeper": (configured(n_layer=3), "the weights in {hf} lack transformer.h.2.attn.c_attn.bias"),
    "shallower": (configured(n_layer=1), "the weights in {hf} hold transformer.h.1.attn.c_attn"),
    "truncated": (truncated, "the weights in {hf} cannot be read ("),
    "missing": (
        stored(lambda state: state.pop("transformer.ln_f.bias")),
        "the weights in {hf} lack transformer.ln_f.bias",
    ),
    "own head": (
        stored(lambda state: state.update({"lm_head.weight": state["lm_head.weight"] + 1})),
        "the weights in {hf} hold an lm_head.weight of their own",
    ),
    "gap": (numbered(the=1000), "does not number its 265 pieces from 0 on"),
    "no end": (numbered(**{"<|endoftext|>": None, "end": END_OF_TEXT}), "has no piece <|endoftext"),
    "no byte": (numbered(**{"!": None, "zz": 0}), "is not byte-level: it has no piece for byte 33"),
    "merge": (numbered(the=None, zz=257), "does not know 'the', which its merges use"),
    "prefix space": (prefixed, "splits text otherwise than GPT-2 does"),
}


@pytest.mark.parametrize(("change", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_folder_is_refused(change, expected, folder, tmp_path):
    change(folder)
    line = refusal("import-hf", folder, tmp_path / "out")
    assert expected.format(hf=folder) in line
    assert set(tmp_path.iterdir()) <= {folder}


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_weights_run_no_code(folder, tmp_path):
    marker = tmp_path / "executed"
    stored(lambda state: state.update({"note": Payload(marker)}))(folder)
    line = refusal("import-hf", folder, tmp_path / "out")
    assert f"the weights in {folder} carry something besides tensors" in line
    assert not marker.exists() and not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_kept(original, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    (tmp_path / "file").touch()
    for command, source in (("import-hf", "hf"), ("export-hf", "fairseq/model.pt")):
        source = original / source
        assert refusal(command, source, tmp_path / "out") == (
            f"{tmp_path / 'out'} is not empty: name a new folder"
        )
        assert refusal(command, source, tmp_path / "file").endswith("is a file: name a new folder")
        assert "/proc/no/out cannot be written" in refusal(command, source, "/proc/no/out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    call("import-hf", original / "hf", tmp_path / "empty")
    assert (tmp_path / "empty" / "model.pt").is_file()


@pytest.mark.parametrize("end", ["error", "kill"])
def test_a_folder_is_whole_or_not_there(end, tmp_path):
    pid = os.fork()
    if pid == 0:
        try:
            with written_whole(tmp_path / "out") as folder:
                (folder / "half").touch()
                if end == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(28, "No space left on device")
        except UserError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (7 if end == "error" else -9)
    assert not (tmp_path / "out").exists()


# --- export --------------------------------------------------------------------------------------


def set_model(**settings):
    return lambda state: state["cfg"]["model"].update(settings)


EXPORT_REFUSED = {
    "architecture": (
        set_model(_name="transformer_lm", arch="transformer_lm"),
        "holds a model of --arch transformer_lm, but must of gpt2, gpt2_medium",
    ),
    "norm": (set_model(layernorm_embedding=True), "--layernorm-embedding makes no GPT-2"),
    "softmax": (set_model(adaptive_softmax_cutoff="8"), "--adaptive-softmax-cutoff makes no GPT-2"),
    "positions": (
        set_model(no_token_positional_embeddings=True),
        "--no-token-positional-embeddings makes no GPT-2",
    ),
    "activation": (set_model(activation_fn="tanh"), "--activation-fn tanh is none of transformers"),
    "missing": (
        lambda state: state["model"].pop("decoder.layers.1.fc1.bias"),
        "the checkpoint lacks decoder.layers.1.fc1.bias",
    ),
    "unknown": (
        lambda state: state["model"].update({"decoder.extra": torch.zeros(1)}),
        "the checkpoint holds decoder.extra, which GPT-2 does not have",
    ),
    "no model": (lambda state: state.pop("model"), "is no checkpoint of fairseq-train"),
}


@pytest.mark.parametrize(("change", "expected"), EXPORT_REFUSED.values(), ids=EXPORT_REFUSED)
def test_a_checkpoint_is_refused(change, expected, original, tmp_path):
    folder = altered(original / "fairseq", tmp_path / "fairseq", change)
    assert expected in refusal("export-hf", folder / "model.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dictionary_or_tokeniser_that_does_not_belong(original, tmp_path):
    folder = altered(original / "fairseq", tmp_path / "fairseq", lambda state: None)
    checkpoint, out = folder / "model.pt", tmp_path / "out"
    lines = (folder / "dict.txt").read_text().splitlines()
    swapped = [lines[1], lines[0], *lines[2:]]
    for written, expected in (
        (swapped, "line 1 must be 0, but is 1"),
        (lines[:-1], f"holds {VOCABULARY - 1} symbols, but the model {VOCABULARY}"),
    ):
        (folder / "dict.txt").write_text("\n".join(written) + "\n")
        assert expected in refusal("export-hf", checkpoint, out)
    (folder / "dict.txt").unlink()
    assert "add --data DIR" in refusal("export-hf", checkpoint, out)
    assert f"--data {tmp_path} has no" in refusal("export-hf", checkpoint, out, "--data", tmp_path)
    data = original / "fairseq"
    (folder / "encoder.json").unlink()
    line = refusal("export-hf", checkpoint, out, "--data", data)
    assert f"{folder} holds no tokeniser" in line and "add --gpt2-bpe DIR" in line
    assert f"--gpt2-bpe {tmp_path} holds no tokeniser" in refusal(
        *("export-hf", checkpoint, out, "--data", data, "--gpt2-bpe", tmp_path)
    )
    assert f"{tmp_path / 'no.pt'} does not exist" in refusal("export-hf", tmp_path / "no.pt", out)
    call("export-hf", checkpoint, out, "--data", data, "--gpt2-bpe", data)


def test_a_checkpoint_that_carries_code(original, tmp_path):
    marker = tmp_path / "executed"
    change = lambda state: state["extra_state"].update(note=Payload(marker))  # noqa: E731
    folder = altered(original / "fairseq", tmp_path / "fairseq", change)
    assert "GENFT_TRUST_CHECKPOINT" in refusal("export-hf", folder / "model.pt", tmp_path / "out")
    assert not marker.exists()
