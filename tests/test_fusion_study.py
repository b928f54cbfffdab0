"""The study of Fusion-in-Decoder: commands that parse, questions, a deeper decoder, the table."""

import json
import shlex

import pytest
import torch
from click.testing import CliRunner
from models.tiny_fid import tiny_model, tiny_sample
from refusals import assert_script_refused
from test_examples import parse, shell
from test_recipes import EXAMPLES, accept, loaded

from genft_fairseq.cli import genft
from genft_fairseq.data.fid_json import read_examples

STUDY = EXAMPLES / "fusion_in_decoder"
PRETRAINING = ["sentences", "base"]


def printed(script, **environment):
    done = shell("bash", STUDY / script, DRY_RUN="1", GPUS="0", **environment)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def test_training_commands():
    runs = [parse(words[1:]) for words in printed("train.sh")]
    everything = {run.save_dir.split("/")[-1]: run for run in runs}
    assert list(everything)[:4] == [*PRETRAINING, "plain-clozes", "plain"]
    parsed = {name: run for name, run in everything.items() if not name.endswith("-clozes")}
    names = list(parsed)
    assert len(names) == 16 and len(runs) == len(everything) == 16 + 13  # but for long answers
    for name, run in everything.items():
        if name.endswith("-clozes"):
            assert (run.max_update, run.data.split("/")[-1]) == (200, "clozes")
            same = parsed[name.removesuffix("-clozes")]
            assert (run.first_k, run.decoder_kv_heads) == (same.first_k, same.decoder_kv_heads)
    assert parsed["k8-lsa-3-gqa-4"].first_k == 8
    assert parsed["k8-lsa-3-gqa-4"].cross_attention_interval == 3
    assert parsed["k8-lsa-3-gqa-4"].decoder_kv_heads == 4
    assert parsed["lsa-3-mqa"].decoder_kv_heads == 1
    assert (parsed["plain"].first_k, parsed["plain"].decoder_kv_heads) == (None, None)
    assert parsed["scaled-decoder"].decoder_layers == 2 * parsed["plain"].decoder_layers
    assert parsed["scaled-decoder"].finetune_from_model.endswith("base/deeper.pt")
    assert parsed["source-pointing"].source_pointing and not parsed["plain"].source_pointing
    assert parsed["long-answers"].data.endswith("long_answers")
    # All for the same number of updates of the same size, and otherwise by the same flags.
    own = {"first_k", "cross_attention_interval", "decoder_kv_heads", "decoder_layers", "data"}
    own |= {"source_pointing", "finetune_from_model", "save_dir"}
    for name in names[3:]:
        mine, plain = vars(parsed[name]), vars(parsed["plain"])
        assert {k: v for k, v in mine.items() if k not in own} == {
            k: v for k, v in plain.items() if k not in own
        }


def test_answering_commands():
    *commands, last = printed("evaluate.sh", SYSTEMS="plain long-answers", SEEDS="1 2")
    assert len(commands) == 6  # plain answers the clozes, too
    for program, name, *words in commands:
        assert (program, name) == ("genft", "evaluate-qa")
        accept(genft.commands[name], words)
    assert "long_answers" in commands[2][2]
    assert last[0] == "python3"
    accept(loaded(STUDY / "score.py").main, last[2:])


@pytest.mark.parametrize(
    ("wrong", "value"), [({"SYSTEMS": "plain k9"}, "k9"), ({"SEEDS": "x"}, "SEEDS")]
)
def test_wrong_settings(wrong, value):
    done = shell("bash", STUDY / "train.sh", **{"DRY_RUN": "1", **wrong})
    assert_script_refused(done, value)


def test_preparing_what_is_not_there(tmp_path):
    for arguments, named in (((), "prepare.sh"), (("a.tsv", "b"), "a.tsv")):
        assert_script_refused(shell("bash", STUDY / "prepare.sh", *arguments), named)


def test_questions_made_of_passages(tmp_path):
    table, output = tmp_path / "passages.tsv", tmp_path / "clozes.jsonl"
    text = "The prize was first awarded in 1901 to Wilhelm Conrad of Germany, who was very glad."
    table.write_text(f"id\ttext\ttitle\n1\t{text} It is big.\tPrizes\n2\tnothing here\tNone\n")
    main = loaded(STUDY / "clozes.py").main
    given = [str(table), "--output", str(output), "--per-passage", "5", "--sentences"]
    given += ["--dropped", "0"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    found = {e.answers[0]: e for e in read_examples(output, need_passages=False)}
    assert set(found) == {"1901", "Wilhelm Conrad of Germany"}
    assert found["1901"].question == (
        "The prize was first awarded in what to Wilhelm Conrad of Germany, who was very glad."
    )
    assert found["1901"].extra == {"sentence": text}
    first = output.read_text()
    assert CliRunner().invoke(main, given).exit_code == 0
    assert output.read_text() == first
    given[-1] = "0.5"
    CliRunner().invoke(main, given)
    for example in read_examples(output, need_passages=False):
        kept = example.question.split()
        assert "what" in kept and len(kept) < len(text.split())


def test_a_deeper_decoder_has_every_layer_twice(tmp_path):
    from argparse import Namespace

    from omegaconf import OmegaConf

    shallow, deep = tiny_model(), tiny_model(seed=2, decoder_layers=6)
    settings = OmegaConf.create({"model": {"decoder_layers": 3}})
    state = {"model": shallow.state_dict(), "cfg": settings, "args": Namespace()}
    torch.save(state, tmp_path / "base.pt")
    main = loaded(STUDY / "deepen.py").main
    done = CliRunner().invoke(main, [str(tmp_path / "base.pt"), str(tmp_path / "deeper.pt")])
    assert done.exit_code == 0, done.output
    made = torch.load(tmp_path / "deeper.pt", weights_only=False)
    assert made["cfg"].model.decoder_layers == 6
    deep.load_state_dict(made["model"])
    for number, layer in enumerate(deep.decoder.layers):
        for mine, its in zip(
            layer.parameters(), shallow.decoder.layers[number // 2].parameters(), strict=True
        ):
            assert torch.equal(mine, its)
    assert deep(**tiny_sample()["net_input"])[0].isfinite().all()


def test_the_table_shows_what_was_measured():
    module = loaded(STUDY / "score.py")

    def metrics(scale):
        found = dict.fromkeys(module.KEPT, scale * 0.5)
        found |= {"questions": 4, "n_context": 3, "exact_match_interval": [0, 1]}
        found |= {"parameters": 2_000_000 * scale, "train_seconds": 60 * scale}
        found["valid_ppl"] = 5 * scale
        return {**found, "train_clock": "processor", "f1_p_value": 0.25}

    systems = {"plain": metrics(1), "cheap": metrics(0.5), "long-answers": metrics(2)}
    systems |= {"plain-clozes": metrics(0.8), "cheap-clozes": metrics(0.6)}
    results = {
        "seeds": [1, 2],
        "hardware": {"processor": "a processor", "cores": 2},
        "versions": {"python": "3"},
        "systems": {name: module.over_seeds([found, found]) for name, found in systems.items()},
    }
    json.dumps(results)
    rows = {row.split(" | ")[0][2:]: row.split(" | ") for row in module.table(results).splitlines()}
    assert rows["plain"][1:6] == ["40.0", "40.0", "0.250", "50.0", "50.0"]
    assert rows["cheap"][1:6] == ["30.0", "30.0", "0.250", "25.0", "25.0"]
    assert rows["cheap"][6:9] == ["2.5", "30 (0.50)", "1.00"]
    assert rows["long-answers"][1:6] == [""] * 5
    assert not any(name.endswith("-clozes") for name in rows)
