"""A checkpoint's architecture as flags: they build the same model again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf
from refusals import refuses

from genft_fairseq.experiments.architectures import (
    architecture_flags,
    read_configuration,
    require_task,
)

WORDS = "".join(f"w{i} 9\n" for i in range(30))
SMALL = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "32", "--encoder-ffn-embed-dim", "24"),
    *("--encoder-attention-heads", "4", "--decoder-layers", "2", "--decoder-ffn-embed-dim", "40"),
    *("--decoder-attention-heads", "4"),
]
SMALL_LM = [
    *("--decoder-layers", "1", "--decoder-embed-dim", "32", "--decoder-ffn-embed-dim", "24"),
    *("--decoder-attention-heads", "4"),
]
ADAPTIVE = [
    *("--decoder-input-dim", "32", "--decoder-output-dim", "32", "--adaptive-input"),
    *("--adaptive-input-cutoff", "10,20", "--adaptive-softmax-cutoff", "10,20"),
    "--tie-adaptive-weights",
]
CASES = {
    "transformer": ["--arch", "transformer", *SMALL, "--share-all-embeddings"],
    # The decoder is as wide as the encoder by default: here it keeps the architecture's own width.
    "wide-decoder": ["--arch", "transformer", *SMALL, "--decoder-embed-dim", "512"],
    "positions": [
        *("--arch", "transformer_tiny", "--encoder-learned-pos", "--decoder-learned-pos"),
        *("--max-source-positions", "60", "--max-target-positions", "50", "--dropout", "0.3"),
        *("--encoder-normalize-before", "--decoder-normalize-before", "--layernorm-embedding"),
    ],
    "iwslt": [
        *("--arch", "transformer_iwslt_de_en", "--share-all-embeddings"),
        *("--encoder-layers", "1", "--decoder-layers", "1"),
    ],
    "lstm": ["--arch", "lstm", "--encoder-embed-dim", "16", "--decoder-hidden-size", "24"],
    "fconv": [
        *("--arch", "fconv", "--encoder-embed-dim", "16", "--decoder-embed-dim", "16"),
        *("--encoder-layers", "[(24, 3)] * 2", "--decoder-layers", "[(24, 3)]"),
        *("--decoder-out-embed-dim", "16"),
    ],
    # Both sides assert that there are as many kernels as layers.
    "lightconv": [
        *("--arch", "lightconv", *SMALL, "--encoder-conv-dim", "32"),
        *("--encoder-kernel-size-list", "[3]", "--decoder-kernel-size-list", "[3, 5]"),
        *("--decoder-embed-dim", "32", "--decoder-conv-dim", "32", "--encoder-glu", "1"),
    ],
    "lightconv-lm": [
        *("--arch", "lightconv_lm", "--decoder-layers", "2", "--decoder-kernel-size-list", "[3, 5]")
    ],
    # Its model sets switches that the parser leaves out.
    "bart": ["--arch", "bart_base", *SMALL],
    "lm": ["--arch", "transformer_lm", *SMALL_LM, "--tokens-per-sample", "24"],
    "lm-positions": [
        *("--arch", "transformer_lm", *SMALL_LM, "--decoder-learned-pos"),
        *("--tokens-per-sample", "24", "--share-decoder-input-output-embed"),
        *("--decoder-input-dim", "32", "--decoder-output-dim", "32"),
    ],
    "lm-adaptive": ["--arch", "transformer_lm", *SMALL_LM, *ADAPTIVE],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Dictionaries of both kinds; nothing else is needed to build a model."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("dict.txt", "dict.en.txt", "dict.de.txt"):
        (folder / name).write_text(WORDS)
    return str(folder)


def configure(data: str, task: str, words: list[str]) -> Any:
    """The configuration that ``fairseq-train`` makes of a command line."""
    languages = ["-s", "en", "-t", "de"] if task == "translation" else []
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, [data, "--task", task, *languages, *words])
    return convert_namespace_to_omegaconf(args)


def build(cfg: Any) -> torch.nn.Module:
    return tasks.setup_task(cfg.task).build_model(cfg.model)


def save(path: Path, cfg: Any, model: torch.nn.Module) -> Path:
    """Write a checkpoint with what the trainer writes besides the optimizer's state."""
    history = {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 1}
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
        "model": model.state_dict(),
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    torch.save(state, path)
    return path


def shapes(model: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", CASES)
def test_the_flags_build_the_same_model(name, data, tmp_path):
    task = "language_modeling" if "lm" in name.split("-") else "translation"
    cfg = configure(data, task, CASES[name])
    model = build(cfg)
    configuration = read_configuration(save(tmp_path / "c.pt", cfg, model))
    assert configuration["task"] == task
    flags = architecture_flags(configuration["model"], data, task)
    cfg_again = configure(data, task, flags)
    again = build(cfg_again)
    assert shapes(again) == shapes(model)
    # Parameters that are one tensor in one model are one in the other.
    assert sum(1 for _ in again.parameters()) == sum(1 for _ in model.parameters())
    # What shapes do not show is the same, too.
    for each in ("dropout", "decoder_normalize_before", "tokens_per_sample", "activation_fn"):
        values = [getattr(c.model, each, None) for c in (cfg, cfg_again)]
        assert values[0] == values[1], each


def test_only_what_differs_is_said(data, tmp_path):
    cfg = configure(data, "translation", CASES["transformer"])
    model_settings = read_configuration(save(tmp_path / "c.pt", cfg, build(cfg)))["model"]
    assert architecture_flags(model_settings, data, "translation") == [
        *("--arch", "transformer", "--encoder-embed-dim", "32", "--encoder-ffn-embed-dim", "24"),
        *("--encoder-layers", "1", "--encoder-attention-heads", "4"),
        *("--decoder-ffn-embed-dim", "40", "--decoder-layers", "2"),
        *("--decoder-attention-heads", "4"),
        # Set by fairseq where all are shared.
        *("--share-decoder-input-output-embed", "--share-all-embeddings"),
    ]


def test_embeddings_read_from_a_file_are_not_read_again(data):
    cfg = configure(data, "translation", CASES["transformer"])
    settings = {**vars(cfg.model), "encoder_embed_path": "gone.vec"}
    assert "gone.vec" not in architecture_flags(settings, data, "translation")


def test_a_value_is_never_taken_for_a_flag(data):
    """What a checkpoint says is not to choose the code that runs."""
    cfg = configure(data, "translation", CASES["transformer"])
    settings = {**vars(cfg.model), "encoder_xformers_att_config": "--user-dir=evil"}
    flags = architecture_flags(settings, data, "translation")
    assert "--encoder-xformers-att-config=--user-dir=evil" in flags
    assert not [word for word in flags if word.startswith("--user-dir")]


def test_what_no_flag_says(data):
    cfg = configure(data, "translation", ["--arch", "transformer_wmt_en_de_big_t2t"])
    settings = {**vars(cfg.model), "decoder_normalize_before": False}
    with refuses("decoder_normalize_before", False, "--arch transformer_wmt_en_de_big_t2t"):
        architecture_flags(settings, data, "translation")
    with refuses("mine", "--arch"):
        architecture_flags({"_name": "mine"}, data, "translation")
    settings = {**vars(cfg.model), "encoder_layers": "many"}
    with refuses("--encoder-layers", "many"):
        architecture_flags(settings, data, "translation")
    cfg = configure(data, "translation", ["--arch", "lightconv"])
    settings = {**vars(cfg.model), "encoder_layers": 2}
    with refuses("encoder_kernel_size_list", "encoder_layers", "--arch lightconv"):
        architecture_flags(settings, data, "translation")


def test_what_is_no_checkpoint_of_fairseq(tmp_path):
    path = tmp_path / "c.pt"
    with refuses(path):
        read_configuration(path)
    with refuses(tmp_path):
        read_configuration(tmp_path)
    path.write_bytes(b"PK\x03\x04 cut short")
    with refuses(path):
        read_configuration(path)
    for state in ({"w": torch.zeros(2)}, [], {"cfg": None, "model": {}}):
        torch.save(state, path)
        with refuses(path):
            read_configuration(path)
    torch.save({"cfg": print}, path)
    with refuses(path, "GENFT_TRUST_CHECKPOINT"):
        read_configuration(path)


def test_a_checkpoint_of_the_other_kind_of_task():
    path = Path("base.pt")
    for trained in ("translation", "scheduled_sampling_translation", "translation_moe"):
        require_task({"task": trained}, "translation", path)
    with refuses("base.pt", "translation", "language_modeling"):
        require_task({"task": "scheduled_sampling_translation"}, "language_modeling", path)
