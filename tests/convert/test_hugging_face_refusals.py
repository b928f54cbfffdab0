"""What ``genft import-hf`` and ``export-hf`` refuse, before anything is written."""

import json
import os
import shutil
import signal

import pytest
import torch
from refusals import assert_names
from tiny_gpt2 import END_OF_TEXT, VOCABULARY, altered, call, hugging_face_folder, refusal
from transformers import AutoTokenizer, GPT2LMHeadModel

from genft_fairseq.errors import UserError
from genft_fairseq.files import atomic_folder


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
        subwords = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({p: n for p, n in subwords.items() if n is not None}))

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
    "gone": (shutil.rmtree, ()),
    "no config": (without("config.json"), ("config.json",)),
    "adapter": (lambda folder: (folder / "adapter_config.json").touch(), ("adapter_config.json",)),
    "no weights": (without("model.safetensors"), ("model.safetensors",)),
    "no tokeniser": (without("vocab.json"), ("--gpt2-bpe",)),
    "no JSON": (lambda folder: os.truncate(folder / "config.json", 9), ("config.json",)),
    "other model": (configured(model_type="gpt_neo"), ("model_type", "gpt_neo")),
    "activation": (configured(activation_function="silu"), ("activation_function", "silu")),
    "epsilon": (configured(layer_norm_epsilon=1e-6), ("layer_norm_epsilon", "1e-06")),
    "scale": (configured(scale_attn_weights=False), ("scale_attn_weights",)),
    "layers": (
        configured(scale_attn_by_inverse_layer_idx=True),
        ("scale_attn_by_inverse_layer_idx", True),
    ),
    "upcast": (configured(reorder_and_upcast_attn=True), ("reorder_and_upcast_attn",)),
    "cross": (configured(add_cross_attention=True), ("add_cross_attention",)),
    "untied": (configured(tie_word_embeddings=False), ("tie_word_embeddings",)),
    "quantised": (configured(quantization_config={"x": 1}), ()),
    "type": (configured(n_embd="wide"), ("config.json",)),
    "heads": (configured(n_head=5), ("n_embd", "n_head", 32)),
    "vocabulary": (configured(vocab_size=9), (VOCABULARY,)),
    "shapes": (configured(n_positions=32), ("transformer.wpe.weight", "(64, 32)")),
    "deeper": (configured(n_layer=3), ("transformer.h.2.attn.c_attn.bias",)),
    "shallower": (configured(n_layer=1), ("transformer.h.1.attn.c_attn",)),
    "truncated": (truncated, ()),
    "missing": (
        stored(lambda state: state.pop("transformer.ln_f.bias")),
        ("transformer.ln_f.bias",),
    ),
    "own head": (
        stored(lambda state: state.update({"lm_head.weight": state["lm_head.weight"] + 1})),
        ("lm_head.weight",),
    ),
    "gap": (numbered(the=1000), (265,)),
    "no end": (numbered(**{"<|endoftext|>": None, "end": END_OF_TEXT}), ("<|endoftext|>",)),
    "no byte": (numbered(**{"!": None, "zz": 0}), (33,)),
    "merge": (numbered(the=None, zz=257), ()),
    "prefix space": (prefixed, ()),
}


@pytest.mark.parametrize(("change", "named"), REFUSED.values(), ids=REFUSED)
def test_a_folder_is_refused(change, named, folder, tmp_path):
    change(folder)
    line = refusal("import-hf", folder, tmp_path / "out")
    assert_names(line, folder, *named)
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
    assert_names(line, folder)
    assert not marker.exists() and not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_kept(original, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    (tmp_path / "file").touch()
    for command, source in (("import-hf", "hf"), ("export-hf", "fairseq/model.pt")):
        source = original / source
        for out in (tmp_path / "out", tmp_path / "file", "/proc/no/out"):
            assert_names(refusal(command, source, out), out)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    call("import-hf", original / "hf", tmp_path / "empty")
    assert (tmp_path / "empty" / "model.pt").is_file()


@pytest.mark.parametrize("end", ["error", "kill"])
def test_a_folder_is_whole_or_not_there(end, tmp_path):
    pid = os.fork()
    if pid == 0:
        try:
            with atomic_folder(tmp_path / "out") as folder:
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
        ("--arch", "transformer_lm"),
    ),
    "norm": (set_model(layernorm_embedding=True), ("--layernorm-embedding",)),
    "softmax": (set_model(adaptive_softmax_cutoff="8"), ("--adaptive-softmax-cutoff",)),
    "positions": (
        set_model(no_token_positional_embeddings=True),
        ("--no-token-positional-embeddings",),
    ),
    "activation": (set_model(activation_fn="tanh"), ("--activation-fn", "tanh")),
    "missing": (
        lambda state: state["model"].pop("decoder.layers.1.fc1.bias"),
        ("decoder.layers.1.fc1.bias",),
    ),
    "unknown": (
        lambda state: state["model"].update({"decoder.extra": torch.zeros(1)}),
        ("decoder.extra",),
    ),
    "no model": (lambda state: state.pop("model"), ()),
}


@pytest.mark.parametrize(("change", "named"), EXPORT_REFUSED.values(), ids=EXPORT_REFUSED)
def test_a_checkpoint_is_refused(change, named, original, tmp_path):
    folder = altered(original / "fairseq", tmp_path / "fairseq", change)
    assert_names(refusal("export-hf", folder / "model.pt", tmp_path / "out"), *named)
    assert not (tmp_path / "out").exists()


def test_a_dictionary_or_tokeniser_that_does_not_belong(original, tmp_path):
    folder = altered(original / "fairseq", tmp_path / "fairseq", lambda state: None)
    checkpoint, out = folder / "model.pt", tmp_path / "out"
    lines = (folder / "dict.txt").read_text().splitlines()
    swapped = [lines[1], lines[0], *lines[2:]]
    for written, numbers in ((swapped, (1, 0)), (lines[:-1], (VOCABULARY - 1, VOCABULARY))):
        (folder / "dict.txt").write_text("\n".join(written) + "\n")
        assert_names(refusal("export-hf", checkpoint, out), folder / "dict.txt", *numbers)
    (folder / "dict.txt").unlink()
    assert_names(refusal("export-hf", checkpoint, out), "--data", "dict.txt")
    line = refusal("export-hf", checkpoint, out, "--data", tmp_path)
    assert_names(line, f"--data {tmp_path} ", "dict.txt")
    data = original / "fairseq"
    (folder / "encoder.json").unlink()
    line = refusal("export-hf", checkpoint, out, "--data", data)
    assert_names(line, folder, "--gpt2-bpe")
    line = refusal("export-hf", checkpoint, out, "--data", data, "--gpt2-bpe", tmp_path)
    assert_names(line, f"--gpt2-bpe {tmp_path} ")
    assert_names(refusal("export-hf", tmp_path / "no.pt", out), tmp_path / "no.pt")
    call("export-hf", checkpoint, out, "--data", data, "--gpt2-bpe", data)


def test_a_checkpoint_that_carries_code(original, tmp_path):
    marker = tmp_path / "executed"
    change = lambda state: state["extra_state"].update(note=Payload(marker))  # noqa: E731
    folder = altered(original / "fairseq", tmp_path / "fairseq", change)
    assert "GENFT_TRUST_CHECKPOINT" in refusal("export-hf", folder / "model.pt", tmp_path / "out")
    assert not marker.exists()
