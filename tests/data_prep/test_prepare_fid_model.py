"""prepare-fid.sh and prepare-nq-fid.sh --model: the pieces and the dictionary of an imported T5."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fairseq.data import Dictionary, data_utils
from omegaconf import OmegaConf
from refusals import assert_names
from tiny_t5_pieces import PIECES, write_t5_pieces

from genft_fairseq.data.encoders import HuggingFaceBPE, HuggingFaceBPEConfig
from genft_fairseq.errors import UserError
from genft_fairseq.models.huggingface.description import read as read_description
from genft_fairseq.tasks.fid import FiDConfig, FiDTask

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

import fid_model  # noqa: E402

TRAIN = [
    {
        "question": "wer schrieb Buch 3?",
        "answers": ["Jörg"],
        "ctxs": [
            {"title": "Buch 3", "text": "Jörg schrieb Buch 3."},
            {"title": "책", "text": "책은 도서관."},
        ],
    },
    {
        "question": "wer schrieb 책?",
        "answers": ["Q", "Jörg"],
        "ctxs": [{"title": "", "text": "über Jörg"}],
    },
]
# Words that look like symbols, a joiner of subword-nmt's, and letters that no piece has.
VALID = [
    {
        "question": "wer\u2028 schrieb\u00a0<title> 3 ?",
        "target": "Jörg über 책",
        "answers": ["책"],
        "ctxs": [
            {"title": "<passage:1>", "text": "책은 </s> Zz@@ <context> Buch"},
            {"title": "Buch", "text": "über 도서관"},
            {"title": "", "text": ""},
        ],
    }
]
# The numbers of their pieces, found by hand in the list of pieces. A text begins with a space;
# where no piece begins with that, it is a piece of its own, 3.
TITLE_WORD = "3 16 18 17"
LINES = {
    "train.question": [
        "<question> 4 5 6 3 24 14 <title> 6 3 24 <context> 13 5 6 3 24 15 "
        "<title> 9 <context> 9 10 11 12 15",
        "<question> 4 5 9 14 <title> <context> 7 8 13",
    ],
    "train.answer": ["13", "3 <unk>"],
    "valid.question": [
        f"<question> 4 5 {TITLE_WORD} 3 24 3 14 <title> 3 16 21 22 23 17 "
        "<context> 9 10 3 <unk> 3 <unk> 3 16 <unk> 17 6 <title> 6 <context> 7 8 11 12 "
        "<title> <context>"
    ],
    "valid.answer": ["13 7 8 9"],
}
FILES = ("hugging_face.json", "dict.txt", "tokenizer.json")


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-fid.sh")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_t5_pieces(tmp_path_factory.mktemp("models") / "t5")


@pytest.fixture(scope="module")
def joined(tmp_path_factory) -> Path:
    """Return a folder of files, named as FiD's own preparation names them."""
    folder = tmp_path_factory.mktemp("examples")
    for name, examples in (("train", TRAIN), ("dev", VALID), ("test", VALID)):
        (folder / f"{name}.json").write_text(json.dumps(examples))
    return folder


@pytest.fixture(scope="module")
def arguments(joined, model) -> tuple[object, ...]:
    train, valid, test = (joined / f"{name}.json" for name in ("train", "dev", "test"))
    return ("--train", train, "--valid", valid, "--test", test, "--model", model)


@pytest.fixture(scope="module")
def made(prepare, arguments, tmp_path_factory) -> tuple[Path, str]:
    """Return the data of all examples, and what was printed."""
    out = tmp_path_factory.mktemp("prepared") / "fid"
    printed = prepare.succeed(*arguments, "--out", out, "--workers", 2)
    assert not Path(f"{out}.partial").exists()
    return out, printed


@pytest.fixture(scope="module")
def prepared(made) -> Path:
    return made[0]


def lines(folder: Path, name: str) -> list[str]:
    """Return the lines of one side of a split, in symbols."""
    split, side = name.split(".")
    data = data_utils.load_indexed_dataset(str(folder / f"{split}.question-answer.{side}"))
    dictionary = Dictionary.load(str(folder / f"dict.{side}.txt"))
    assert all(line[-1] == dictionary.eos() for line in data)
    # But for its end each token, by its name: no other is an end.
    return [" ".join(dictionary[int(token)] for token in line[:-1]) for line in data]


def task_of(folder: Path, n_context: int, pointing: bool = True) -> FiDTask:
    cfg = OmegaConf.structured(FiDConfig)
    OmegaConf.set_struct(cfg, False)
    flags = {"train_subset": "train", "dataset_impl": None, "required_seq_len_multiple": 1}
    cfg.update({"data": str(folder), "source_pointing": pointing, "n_context": n_context, **flags})
    return FiDTask.setup_task(cfg)


# --- what is made ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINES)
def test_lines_are_the_models_pieces(prepared, name):
    assert lines(prepared, name) == LINES[name]


def test_numbers_are_those_of_pieces():
    """So that the lines above can be read."""
    named = dict(enumerate(PIECES))
    assert "".join(named[n] for n in (9, 10, 11, 12, 15)) == "\u2581책은\u2581도서관."
    assert "".join(named[n] for n in (13, 7, 8, 9)) == "\u2581Jörg\u2581über\u2581책"
    assert "".join(named[n] for n in (3, 16, 21, 22, 23, 17)) == "\u2581<passage:1>"


def test_the_folder_is_one_of_the_models(prepared, model, read_tree):
    tree = read_tree(prepared)
    for name in FILES:
        assert tree[name] == (model / name).read_bytes()
    assert tree["dict.question.txt"] == tree["dict.answer.txt"] == tree["dict.txt"]
    assert "bpe.codes" not in tree
    assert tree["raw/valid.question"].decode() == "wer schrieb <title> 3 ?\n"
    assert tree["raw/test.answer"].decode() == "Jörg über 책\n"
    assert json.loads(tree["valid.fid.jsonl"])["ctxs"][0]["title"] == "<passage:1>"
    dictionary = Dictionary.load(str(prepared / "dict.question.txt"))
    read_description(prepared).source.require_dictionary(dictionary, "the source")


def test_manifest(prepared, model):
    manifest = json.loads((prepared / "MANIFEST.json").read_text("utf-8"))
    assert manifest["recipe"]["command"].startswith("prepare-fid.sh --train ")
    assert " --max-passages 3 --model " in manifest["recipe"]["command"]
    assert "moses" not in manifest["recipe"]["command"]
    assert str(model) not in json.dumps(manifest)
    assert not any("subword-nmt" in command for command in manifest["commands"])
    assert set(FILES) < set(manifest["outputs"])


def test_hint(made, model):
    out, printed = made
    hint = printed[printed.index("done: ") :].split()
    given = " ".join(hint)
    assert f"--task fid --arch fid_t5 \\ --hugging-face {model}" in given
    # This folder of a model has no weights.
    assert "--finetune-from-model IMPORTED/model.pt" in given
    assert f"--bpe hugging_face --hugging-face-tokeniser {out}" in given
    assert "moses" not in given and "subword_nmt" not in given


def assert_typed_questions_are_read_alike(task: FiDTask, folder: Path) -> None:
    task.load_dataset("train")
    dataset = task.dataset("train")
    bpe = HuggingFaceBPE(HuggingFaceBPEConfig(hugging_face_tokeniser=str(folder)))
    asked = [json.dumps(example) for example in TRAIN]
    typed = task.build_dataset_for_inference(
        *task.get_interactive_tokens_and_lengths(asked, bpe.encode)
    )
    for number, example in enumerate(TRAIN):
        pairs = [pair.tolist() for pair in dataset[number]["pairs"]]
        assert len(pairs) == len(example["ctxs"])
        assert [pair.tolist() for pair in typed[number]["pairs"]] == pairs


def test_the_task_reads_it_and_typed_questions_alike(prepared):
    task = task_of(prepared, n_context=3)
    assert len(task.reading.markers.passages) == 4
    assert [task.source_dictionary[i] for i in task.reading.markers.passages] == [
        f"<passage:{number}>" for number in range(4)
    ]
    assert_typed_questions_are_read_alike(task, prepared)
    bpe = HuggingFaceBPE(HuggingFaceBPEConfig(hugging_face_tokeniser=str(prepared)))
    assert bpe.decode(lines(prepared, "valid.answer")[0]) == "Jörg über 책"


# --- the frame of text ----------------------------------------------------------------------------

# Of these words' letters the pieces have few: "title:" is 3 18 22.
AS_TEXT = {
    "<question>": "3 <unk> 20 <unk> 22",
    "<title>": "</s> 3 18 22",
    "<context>": "3 <unk> 22",
}


@pytest.mark.parametrize("passages", [0, 3])
def test_frame_of_text(prepare, joined, tmp_path, passages):
    """A model without the symbols of Fusion-in-Decoder will do; limits do not count the frame."""
    model = write_t5_pieces(tmp_path / "t5", passages=passages)
    files = ("--train", joined / "train.json", "--valid", joined / "dev.json")
    out = tmp_path / "out"
    limits = ("--max-title", 2, "--max-passage", 6, "--max-question", 10)
    given = (*files, "--model", model, *limits, "--frame")
    prepare.succeed(*given, "text", "--out", out)
    want = LINES["train.question"]
    for symbol, subwords in AS_TEXT.items():
        want = [line.replace(symbol, subwords) for line in want]
    assert "</s> 3 18 22 6 3 24 " in want[0]
    want[0] = want[0].replace("6 3 24 3 <unk> 22 13", "6 3 3 <unk> 22 13")  # two pieces of a title
    assert lines(out, "train.question") == want
    assert (
        json.loads((out / "MANIFEST.json").read_text())["recipe"]["command"].count("--frame text ")
        == 1
    )
    task = task_of(out, n_context=2, pointing=bool(passages))
    if passages:
        task.load_dataset("train")
        assert task.target_dictionary[task.dataset("train")[0]["target"][0]] == "<passage:1>"
    whole = tmp_path / "whole"
    prepare.succeed(*files, "--model", model, "--frame", "text", "--out", whole)
    assert_typed_questions_are_read_alike(task_of(whole, n_context=3, pointing=False), whole)
    # Lines of text are not read as lines of symbols.
    (whole / "MANIFEST.json").unlink()
    with pytest.raises(UserError):
        task_of(whole, n_context=3, pointing=False).load_dataset("train")
    prepare.leave_alone(out, *given, "text")
    assert "--frame text" in prepare.complain(*given, "symbols", "--out", out) or not passages


# --- limits, resuming, the other script -----------------------------------------------------------


def test_killed_runs_continue(prepare, prepared, arguments, tmp_path, read_tree):
    """Not a byte depends on the number of workers either; another model begins anew."""
    out, work = tmp_path / "out", tmp_path / "out.partial" / "work"
    given = (*arguments, "--out", out, "--workers", 1)
    other = write_t5_pieces(tmp_path / "other", passages=4)
    prepare.kill_when((work / "stamps/questions").exists, *given, "--model", other)
    first = (work.parent / "recipe").read_text()
    assert " --max-passages 4 --model " in first
    prepare.kill_when(lambda: any(work.glob("lines/train.question")), *given)
    assert (work.parent / "recipe").read_text() != first
    finished = prepare.finished(work.parent)
    prepare.kill_when(lambda: any(work.glob("../data/train*.bin")), *given)
    assert finished.items() <= prepare.finished(work.parent).items()
    assert not out.exists()
    prepare.succeed(*given)
    assert read_tree(out) == read_tree(prepared)
    assert not work.parent.exists()


def test_a_complete_folder_is_not_made_by_another_model(prepare, prepared, arguments, tmp_path):
    given = arguments
    prepare.leave_alone(prepared, *given)
    prepare.leave_alone(prepared, *given, "--model", prepared)  # a copy of its files
    other = write_t5_pieces(tmp_path / "other", passages=4)
    message = prepare.complain(*given, "--out", prepared, "--model", other, "--max-passages", 3)
    assert_names(message, prepared, "prepare-fid.sh --train ")
    assert message.count(" --max-passages 3 --model ") == 2


def test_limits_count_the_models_pieces(prepare, prepared, arguments, tmp_path):
    """With a data folder for a model."""
    out = tmp_path / "out"
    prepare.succeed(
        *(*arguments, "--model", prepared, "--out", out, "--max-question", 3),
        *("--truncate-questions", "--max-title", 1, "--max-passage", 4, "--max-answer", 2),
        *("--max-passages", 2, "--limit", 1),
    )
    assert lines(out, "train.question") == [
        "<question> 4 5 6 <title> 6 <context> 13 5 6 3 <title> 9 <context> 9 10 11 12"
    ]
    assert lines(out, "valid.question") == [
        "<question> 4 5 3 <title> 3 <context> 9 10 3 <unk> <title> 6 <context> 7 8 11 12"
    ]
    assert lines(out, "valid.answer") == ["13 7"]
    assert (out / "dict.answer.txt").read_bytes() == (prepared / "dict.txt").read_bytes()


def test_natural_questions(script, joined, model, prepared, tmp_path, read_tree):
    """The same examples make the same data."""
    out = tmp_path / "out"
    nq = script("prepare-nq-fid.sh")
    nq.succeed("--from", joined, "--unpinned", "--out", out, "--model", model)
    mine, theirs = read_tree(out), read_tree(prepared)
    manifest, _ = (json.loads(tree.pop("MANIFEST.json")) for tree in (mine, theirs))
    assert mine == theirs
    assert manifest["recipe"]["command"].startswith("prepare-nq-fid.sh --unpinned ")


def test_an_imported_model(prepare, tmp_path, joined):
    """What `genft import-hf` makes of a T5 of transformers'; the pieces are its tokeniser's own."""
    pytest.importorskip("transformers")
    from models.tiny_hugging_face import save
    from tiny_gpt2 import call
    from tokenizers import Tokenizer

    save(tmp_path / "hf", "t5")
    folder, out = tmp_path / "fairseq", tmp_path / "out"
    call("import-hf", tmp_path / "hf", folder, "--passages", 2)
    passage = {"title": "the cat", "text": "the cat sat on the mat , über all ."}
    example = {"question": "who sat on the mat ?", "answers": ["the cat"], "ctxs": [passage]}
    path = tmp_path / "examples.json"
    path.write_text(json.dumps([example]))
    printed = prepare.succeed("--train", path, "--valid", path, "--out", out, "--model", folder)
    assert f"--hugging-face {folder} --finetune-from-model {folder}/model.pt" in printed
    tokenizer = Tokenizer.from_file(str(tmp_path / "hf" / "tokenizer.json"))

    def subwords(text: str) -> str:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return " ".join("<unk>" if n == tokenizer.token_to_id("<unk>") else str(n) for n in ids)

    assert lines(out, "train.question") == [
        f"<question> {subwords(example['question'])} <title> {subwords(passage['title'])} "
        f"<context> {subwords(passage['text'])}"
    ]
    assert "<unk>" in subwords(passage["text"])
    assert lines(out, "train.answer") == [subwords("the cat")]
    task = task_of(out, n_context=2)
    assert len(task.reading.markers.passages) == 3
    described = read_description(folder)
    described.source.require_dictionary(task.source_dictionary, "the source")
    described.target.require_dictionary(task.target_dictionary, "the target")

    # Without new symbols, the ids of a pair are those of FiD's text.
    call("import-hf", tmp_path / "hf", tmp_path / "plain")
    text = tmp_path / "text"
    prepare.succeed(
        *("--train", path, "--valid", path, "--out", text, "--model", tmp_path / "plain"),
        *("--frame", "text"),
    )
    task = task_of(text, n_context=1, pointing=False)
    task.load_dataset("train")
    (pair,) = task.dataset("train")[0]["pairs"]
    found = [task.source_dictionary[int(token)] for token in pair]
    title, content = passage["title"], passage["text"]
    fid = f"question: {example['question']} title: {title} context: {content}"
    assert " ".join(found) == f"{subwords(fid)} </s>"


def test_texts_stay_in_order_however_many_they_are():
    texts = [str(number) for number in range(1203)]
    found = list(fid_model.batches(iter(texts)))
    assert [text for batch in found for text in batch] == texts
    assert [len(batch) for batch in found] == [500, 500, 203]
