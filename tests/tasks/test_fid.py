"""The task of reading passages: its batches, its flags, pointing, and JSON as input."""

import json

import numpy as np
import pytest
import torch
from fid_folder import evidence_of, keys_and_values, line_of, write_fid_folder
from omegaconf import OmegaConf
from refusals import refuses

from genft_fairseq.data.fid_lines import passage_symbol
from genft_fairseq.tasks.fid import FiDConfig, FiDTask

ASKED = keys_and_values(13)
TASK = {"train_subset": "train", "dataset_impl": None, "required_seq_len_multiple": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_fid_folder(tmp_path_factory.mktemp("fid") / "data", {"train": ASKED})


def task_of(folder, **flags):
    cfg = OmegaConf.structured(FiDConfig)
    OmegaConf.set_struct(cfg, False)
    cfg.update({"data": str(folder), **TASK, **flags})
    return FiDTask.setup_task(cfg)


def loaded(folder, **flags):
    task = task_of(folder, **flags)
    task.load_dataset("train")
    return task, task.dataset("train")


def text_of(task, tokens):
    tokens = tokens[tokens.ne(task.source_dictionary.pad())]
    return " ".join(task.source_dictionary[t] for t in tokens)


@pytest.mark.parametrize("n_context", [0, 1, 3])
@pytest.mark.parametrize("left", [True, False])
def test_a_batch_holds_the_pairs(folder, n_context, left):
    task, dataset = loaded(folder, n_context=n_context, left_pad_source=left)
    batch = dataset.collater([dataset[i] for i in range(len(ASKED))])
    assert sorted(batch["id"].tolist()) == list(range(len(ASKED)))  # no example is dropped
    most = min(n_context or 4, 4)
    tokens = batch["net_input"]["src_tokens"]
    assert tokens.shape[:2] == (len(ASKED), most)
    for row, index in enumerate(batch["id"].tolist()):
        question, passages, answer = ASKED[index]
        want = [f"{line_of(question, [passage])} </s>" for passage in passages[:most]]
        assert [text_of(task, pair) for pair in tokens[row]] == want + [""] * (most - len(want))
        assert text_of(task, batch["target"][row]) == f"{answer} </s>"
        length = sum(len(pair.split()) for pair in want)
        assert batch["net_input"]["src_lengths"][row] == length
        assert dataset.num_tokens(index) == len(want) * max(len(p.split()) for p in want)
    pad = tokens.eq(task.source_dictionary.pad())
    first, last = pad[:, 0, 0], pad[:, 0, -1]
    assert (first if left else last).any() and not (last if left else first).any()


def test_one_passage_makes_the_batches_of_a_translation_task(folder):
    """In the order and of the sizes of fairseq's own, source for source."""
    from fairseq.data import LanguagePairDataset

    task, mine = loaded(folder, n_context=1)
    pairs = [mine[i]["pairs"][0] for i in range(len(mine))]
    its = LanguagePairDataset(
        *(pairs, [len(p) for p in pairs], task.source_dictionary, mine.tgt, mine.tgt_sizes),
        task.target_dictionary,
    )
    for dataset in (mine, its):
        np.random.seed(3)
        dataset.order = dataset.ordered_indices()
    assert np.array_equal(mine.order, its.order)
    assert np.array_equal(mine.num_tokens_vec(mine.order), its.num_tokens_vec(its.order))
    got, want = (data.collater([data[i] for i in (3, 5, 4, 9)]) for data in (mine, its))
    assert torch.equal(got["net_input"]["src_tokens"][:, 0], want["net_input"]["src_tokens"])
    assert torch.equal(got["net_input"]["src_lengths"], want["net_input"]["src_lengths"])
    for key in ("id", "target", "ntokens"):
        assert got[key] == want[key] if key == "ntokens" else torch.equal(got[key], want[key])


def test_passages_are_cut(folder):
    task, dataset = loaded(folder, max_passage_tokens=4)
    for index, (question, passages, _) in enumerate(ASKED):
        for pair, (title, text) in zip(dataset[index]["pairs"], passages, strict=True):
            want = f"<question> {question} <title> {title} <context> {text.split()[0]} </s>"
            assert text_of(task, pair) == want
        assert dataset.src_sizes[index] == 1 + len(question.split()) + 4 + 1


@pytest.mark.parametrize("n_context", [0, 2])
def test_pointing_names_the_passage(folder, n_context):
    task, dataset = loaded(folder, source_pointing=True, n_context=n_context)
    plain = loaded(folder, n_context=n_context)[1]
    pointed = set()
    for index, asked in enumerate(ASKED):
        read = asked[1][: n_context or None]
        example = dataset[index]
        for number, (pair, passage) in enumerate(zip(example["pairs"], read, strict=True), 1):
            want = line_of(asked[0], [passage]).replace(
                "<title>", f"{passage_symbol(number)} <title>"
            )
            assert text_of(task, pair) == f"{want} </s>"
        found = [i for i in evidence_of(asked) if i < len(read)]
        symbol = passage_symbol(found[0] + 1 if found else 0)
        pointed.add(symbol)
        assert text_of(task, example["target"]) == f"{symbol} {asked[2]} </s>"
    assert len(pointed) > 2
    assert (passage_symbol(0) in pointed) == bool(n_context)  # it stands further behind
    assert np.array_equal(dataset.tgt_sizes, np.array(plain.tgt_sizes) + 1)
    assert np.array_equal(dataset.src_sizes, plain.src_sizes + 1)


def test_json_is_read_as_the_binarized_line_is(folder):
    task, dataset = loaded(folder, n_context=3)
    lines = [
        json.dumps(
            {"question": question, "ctxs": [{"title": t, "text": text} for t, text in passages]}
        )
        for question, passages, _ in ASKED
    ]
    tokens, lengths = task.get_interactive_tokens_and_lengths(lines, lambda text: text)
    assert lengths == [len(line) for line in tokens]
    read = task.build_dataset_for_inference(tokens, lengths)
    for index in range(len(ASKED)):
        got, want = read[index]["pairs"], dataset[index]["pairs"]
        assert [p.tolist() for p in got] == [p.tolist() for p in want]
    batch = read.collater([read[i] for i in range(4)])
    assert batch["target"] is None
    assert batch["net_input"]["src_tokens"].dim() == 3


def test_text_that_looks_like_a_marker_is_text(folder):
    task = task_of(folder)
    line = json.dumps({"question": "what <title> is", "ctxs": [{"text": "the <passage:1> k1"}]})
    (tokens,), _ = task.get_interactive_tokens_and_lengths([line], lambda text: text)
    want = "<question> what <unk> is <title> <context> the <unk> k1 </s>"
    assert text_of(task, tokens) == want


def test_typed_passages_are_read_by_score(folder, caplog):
    """What was reordered is told once; --keep-order keeps the order."""
    ctxs = [{"text": "k1", "score": 1}, {"text": "k2", "score": "30"}, {"text": "k3", "score": 2}]
    lines = [json.dumps({"question": "what", "ctxs": ctxs})]
    task, keeping = task_of(folder, n_context=2), task_of(folder, keep_order=True)
    want = "<question> what <title> <context> k2 <title> <context> k3 </s>"
    with caplog.at_level("INFO"):
        for _ in range(2):
            (tokens,), _ = task.get_interactive_tokens_and_lengths(lines, str)
            assert text_of(task, tokens) == want
    assert len([r for r in caplog.records if r.name.endswith("tasks.fid")]) == 1
    (tokens,), _ = keeping.get_interactive_tokens_and_lengths(lines, str)
    assert [word for word in text_of(task, tokens).split() if word[0] == "k"] == ["k1", "k2", "k3"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", (1,)),
        ("[" * 100000, (1,)),
        ('{"question": "a"}', (1,)),
        ('{"ctxs": [{"text": "a"}]}', (1,)),
        ('{"question": "a", "ctxs": [{"title": "b"}]}', (1, 0)),
    ],
)
def test_input_that_is_no_example(line, named, folder):
    with refuses(*named):
        task_of(folder).get_interactive_tokens_and_lengths([line], lambda text: text)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"n_context": -1}, ("--n-context", -1)),
        ({"max_passage_tokens": -1}, ("--max-passage-tokens", -1)),
        ({"truncate_source": True}, ("--truncate-source",)),
        ({"num_batch_buckets": 2}, ("--num-batch-buckets",)),
        ({"load_alignments": True}, ("--load-alignments",)),
        (
            {"source_pointing": True, "n_context": 9},
            ("--n-context", 9, "<passage:9>", "dict.question.txt", "<passage:8>"),
        ),
    ],
)
def test_flags_that_cannot_work(flags, named, folder):
    with refuses(*named):
        task_of(folder, **flags)


def test_a_pair_without_room(folder):
    with refuses("train", "--max-source-positions", 8):
        loaded(folder, max_source_positions=8)


def test_more_passages_than_symbols(tmp_path):
    folder = write_fid_folder(tmp_path / "data", {"train": ASKED}, named=2)
    with refuses(4, "<passage:2>"):
        loaded(folder, source_pointing=True)


def test_pointing_needs_the_evidence(tmp_path):
    folder = write_fid_folder(tmp_path / "data", {"train": ASKED})
    for path in folder.glob("train.align*"):
        path.unlink()
    with refuses("--source-pointing", "train.align"):
        loaded(folder, source_pointing=True)
    loaded(folder)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("print_alignment", "hard"), ("replace_unk", "@@ "), ("match_source_len", True)),
        ("max_len_a", 0.5),
    ],
)
def test_generation_that_needs_one_source_text(flag, value, folder):
    with refuses(f"--{flag.replace('_', '-')}"):
        task_of(folder).build_generator([], OmegaConf.create({flag: value}))


def test_lengths_that_the_source_would_decide(folder):
    cfg = OmegaConf.create({"_name": "minimum_risk", "risk_max_len_a": 1.5})
    with refuses("--risk-max-len-a", 1.5):
        task_of(folder).build_criterion(cfg)


def test_an_example_that_no_batch_has_room_for(folder):
    task, dataset = loaded(folder)
    worst = dataset.num_tokens_vec(np.arange(len(dataset))).max()
    with refuses("--max-tokens", worst - 1, worst):
        task.get_batch_iterator(dataset, worst - 1)
    batches = task.get_batch_iterator(dataset, int(worst)).next_epoch_itr(shuffle=False)
    assert sum(len(batch["id"]) for batch in batches) == len(ASKED)


def test_a_batch_holds_no_more_tokens_than_it_may(tmp_path):
    """Twenty short passages beside one long one would all be padded to it."""
    short = ("q", [("t", "a b")] * 20, "a")
    long = ("q", [("t", " ".join("c" * 40))], "c")
    asked = [short, long, short, long, short]
    folder = write_fid_folder(tmp_path / "data", {"train": asked}, named=0)
    task, dataset = loaded(folder)
    most = int(dataset.num_tokens_vec(np.arange(5)).max()) * 2
    iterator = task.get_batch_iterator(dataset, most).next_epoch_itr(shuffle=False)
    seen = []
    for batch in iterator:
        tokens = batch["net_input"]["src_tokens"]
        read = tokens.ne(task.source_dictionary.pad()).any(dim=2).sum()
        assert read * tokens.size(2) <= most
        seen += batch["id"].tolist()
    assert sorted(seen) == list(range(5))
    # Alike, they stay together as fairseq puts them.
    alike = np.array([0, 2, 4])
    assert [len(b) for b in dataset.batch_by_size(alike, most)] == [2, 1]
    assert [len(b) for b in dataset.batch_by_size(alike, None, 3)] == [3]


def test_the_evidence_of_several_parts(tmp_path):
    """Shards by epoch, and parts that are read together, the first of them more than once."""
    parts = [keys_and_values(9, seed=seed) for seed in (1, 2)]
    first = write_fid_folder(tmp_path / "a", {"train": parts[0], "train1": parts[1]})
    second = write_fid_folder(tmp_path / "b", {"train": parts[1]})

    def pointed(folder, epoch=1, combine=False, **flags):
        task = task_of(folder, source_pointing=True, **flags)
        task.load_dataset("train", epoch=epoch, combine=combine)
        dataset = task.dataset("train")
        return [text_of(task, dataset[i]["target"]).split()[0] for i in range(len(dataset))]

    want = [[passage_symbol(evidence_of(asked)[0] + 1) for asked in part] for part in parts]
    assert want[0] != want[1]
    both = f"{first}:{second}"
    assert [pointed(both, epoch) for epoch in (1, 2, 3)] == [*want, want[0]]
    assert pointed(first, combine=True, upsample_primary=1) == want[0] + want[1]
    assert pointed(first, combine=True, upsample_primary=2) == want[0] * 2 + want[1]
