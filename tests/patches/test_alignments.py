"""Alignments of fairseq's decoding, and the unknown words that are replaced by means of them."""

from argparse import Namespace

import pytest
import torch
from criterions.tiny_fairseq import EOS, PAD, SENTENCES, tiny_model, tiny_sample, tiny_task
from fairseq import utils
from fairseq.dataclass.configs import GenerationConfig
from fairseq.models.transformer import base_architecture
from fairseq.models.transformer_align import TransformerAlignModel
from refusals import refuses

UNK = 3


@pytest.fixture
def parts():
    torch.manual_seed(2)
    task = tiny_task("translation")
    return task, tiny_model(task).eval(), tiny_sample(task)


def decode(parts, prefix=None, **flags):
    task, model, sample = parts
    generator = task.build_generator([model], GenerationConfig(**{"max_len_b": 8, **flags}))
    return task.inference_step(generator, [model], sample, prefix_tokens=prefix)


def hard(attention, source, target):
    """By hand: the source token that each token of the target looks at most, both without end."""
    words = [place for place, token in enumerate(source.tolist()) if token not in (PAD, EOS)]
    return [
        (max(range(len(words)), key=lambda i: float(row[words[i]])), place)
        for place, (row, token) in enumerate(zip(attention, target.tolist(), strict=True))
        if token not in (PAD, EOS)
    ]


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_reference_alignments(kind, parts):
    sample = parts[2]
    found = decode(parts, score_reference=True, print_alignment=kind)
    for row, (hypothesis,) in enumerate(found):
        source, target = sample["net_input"]["src_tokens"][row], hypothesis["tokens"]
        attention = hypothesis["attention"][: len(target)]
        if kind == "hard":
            assert hypothesis["alignment"] == hard(attention, source, target)
            continue
        weights = [[float(weight) for weight in one] for one in hypothesis["alignment"]]
        want = attention[:, source.ne(PAD)]
        torch.testing.assert_close(torch.tensor(weights), want.float(), atol=1e-5, rtol=0)
        assert want.sum(dim=1).tolist() == pytest.approx([1] * len(target), abs=1e-4)


@pytest.mark.parametrize(("layers", "layer", "used"), [(1, 4, 0), (2, 4, 1), (2, 0, 0)])
def test_the_alignment_layer_exists(layers, layer, used):
    """fairseq's default is the fifth, of which small models have none."""
    task = tiny_task("translation")
    sides = [
        {f"{side}_layers": layers, f"{side}_embed_dim": 8, f"{side}_attention_heads": 2}
        for side in ("encoder", "decoder")
    ]
    args = Namespace(**sides[0], **sides[1], max_source_positions=64, max_target_positions=64)
    args.alignment_layer = layer
    base_architecture(args)
    model = TransformerAlignModel.build_model(args, task).eval()
    assert model.alignment_layer == used
    found = decode((task, model, tiny_sample(task)), score_reference=True, print_alignment="hard")
    lengths = [len(row[0]["alignment"]) for row in found]
    assert sorted(lengths) == sorted(len(sentence) - 1 for sentence in SENTENCES)


@pytest.mark.parametrize("flags", [{"print_alignment": "hard"}, {"replace_unk": ""}])
def test_fewer_hypotheses_than_the_beam(flags, parts):
    """A prefix as long as the text may be leaves one."""
    sample = parts[2]
    prefix = sample["target"][:, :2]
    found = decode(parts, prefix=prefix, beam=3, max_len_b=2, **flags)
    assert [len(row) for row in found] == [1, 1, 1, 1]
    for row, source in zip(found, sample["net_input"]["src_tokens"], strict=True):
        for hypothesis in row:
            attention = hypothesis["attention"].transpose(0, 1)
            assert hypothesis["alignment"] == hard(attention, source, hypothesis["tokens"])
            assert "filler" not in hypothesis


def test_a_model_without_attention_to_a_source():
    task = tiny_task("language")
    parts = task, tiny_model(task).eval(), tiny_sample(task)
    for flags in ({"print_alignment": "hard"}, {"replace_unk": ""}):
        with refuses("--print-alignment"):
            decode(parts, **flags)
    with refuses("--print-alignment"):
        decode(parts, score_reference=True, print_alignment="soft")


ALIGNMENTS = {
    "hard": [(2, 0), (0, 1), (1, 2)],
    "soft": [["0.1", "0.2", "0.5", "0.2"], ["0.4", "0.1", "0", "0.5"], ["0", "0.9", "0.1", "0"]],
}


@pytest.mark.parametrize("alignment", ALIGNMENTS.values(), ids=ALIGNMENTS.keys())
def test_unknown_words_are_replaced(alignment, parts):
    """w0 <unk> <unk> of the source Anna@@ likes Otto; the last weight is that of the end."""
    dictionary = parts[0].target_dictionary

    def written(words, **flags):
        _, text, _ = utils.post_process_prediction(
            *(torch.tensor([4, UNK, UNK, EOS]), "Anna@@ likes Otto", alignment, words, dictionary),
            **flags,
        )
        return text

    assert written({}) == "w0 Anna@@ likes"
    assert written({}, remove_bpe="@@ ") == "w0 Annalikes"
    assert written({"likes": "mag", "Otto": "Emil"}) == "w0 Anna@@ mag"
    assert written(None) == "w0 <unk> <unk>"


def test_what_aligns_with_nothing_stays(parts):
    dictionary = parts[0].target_dictionary
    for alignment in ([], [(9, 0)], None, torch.empty(0)):
        _, text, _ = utils.post_process_prediction(
            torch.tensor([UNK, 5, EOS]), "Anna", alignment, {}, dictionary
        )
        assert text == "<unk> w1"


def test_the_dictionary_of_replacements(tmp_path):
    assert utils.load_align_dict(None) is None
    assert utils.load_align_dict("@@ ") == utils.load_align_dict("") == {}
    path = tmp_path / "words.txt"
    path.write_text("Köln Cologne\nUhr clock watch\n", encoding="utf-8")
    assert utils.load_align_dict(str(path)) == {"Köln": "Cologne", "Uhr": "clock"}
    path.write_text("Köln Cologne\nUhr\n", encoding="utf-8")
    with refuses("--replace-unk", path, " 2 "):
        utils.load_align_dict(str(path))
