"""Preprocess, validate, generate, interactive, eval-lm, on checkpoints of the plugin."""

import math
import re
import shutil

import pytest
import torch
from fairseq.data import Dictionary
from fairseq_commands import (
    TINY_LANGUAGE_MODEL,
    TINY_TRANSLATION,
    USER_DIR,
    parameters,
    run,
    run_cold,
    train,
)
from refusals import assert_refused


@pytest.fixture(scope="module")
def translation_model(translation_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scalegrad")
    train(
        *(translation_data, folder, TINY_TRANSLATION, "--criterion", "scalegrad"),
        *("--max-update", 2, "--eval-bleu", "--eval-bleu-args", '{"beam": 2, "max_len_b": 12}'),
        *("--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"),
    )
    return folder / "checkpoint_best.pt"


@pytest.fixture(scope="module")
def language_model(language_model_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlikelihood")
    train(
        *(language_model_data, folder, TINY_LANGUAGE_MODEL, "--criterion", "unlikelihood"),
        *("--max-update", 2),
    )
    return folder / "checkpoint_last.pt"


def generate(data, checkpoint, *flags):
    return generation(data, checkpoint, *flags).output


def generation(data, checkpoint, *flags, check=True):
    return run(
        "fairseq-generate",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--max-len-b", 12, *flags),
        check=check,
    )


def interactive(data, checkpoint, lines, *flags, check=True):
    return run(
        "fairseq-interactive",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", *flags),
        check=check,
        stdin="".join(f"{line}\n" for line in lines),
    )


def hypotheses(output):
    """Every hypothesis by its sentence: the score, rounded, and the text."""
    found = {}
    for number, score, text in re.findall(r"^H-(\d+)\t(\S+)\t(.*)$", output, re.M):
        found.setdefault(int(number), []).append((round(float(score), 3), text))
    return found


@pytest.mark.parametrize(
    "flags",
    [
        ["--beam", 5, "--remove-bpe"],
        ["--sampling", "--sampling-topp", 0.9, "--beam", 1],
        ["--beam", 2, "--scoring", "sacrebleu"],
    ],
    ids=["beam", "sampling", "sacrebleu"],
)
def test_generate(flags, translation_data, translation_model):
    output = generate(translation_data, translation_model, *flags)
    # All 12 sentences: without the plugin's remedy fairseq drops 4, an incomplete batch of 8.
    assert len(re.findall(r"^H-\d+\t", output, re.M)) == 12
    if "sacrebleu" in flags:
        assert re.search(r"BLEU = [\d.]+", output)


@pytest.mark.parametrize("size", [1, 2])
def test_no_ngram_is_repeated(size, translation_data, translation_model):
    """fairseq's flag, which without the plugin's remedy does nothing."""
    flags = ("--beam", 2, "--min-len", 8)

    def repetitions(*more):
        output = generate(translation_data, translation_model, *flags, *more)
        repeated = 0
        for text in re.findall(r"^H-\d+\t\S+\t(.*)$", output, re.M):
            words = text.split()
            ngrams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
            repeated += len(ngrams) - len(set(ngrams))
        return repeated

    assert repetitions() > 0
    assert repetitions("--no-repeat-ngram-size", size) == 0


def test_generate_as_an_installed_script(translation_data, translation_baseline):
    """In a new process, and from a checkpoint that fairseq's own criterion made."""
    output = run_cold(
        "fairseq-generate",
        *(translation_data, "--user-dir", USER_DIR, "--cpu", "--max-len-b", 12),
        *("--path", translation_baseline / "checkpoint_last.pt"),
    ).output
    assert len(re.findall(r"^H-\d+\t", output, re.M)) == 12


def test_generate_from_a_language_model(language_model_data, language_model):
    output = generate(
        *(language_model_data, language_model, "--task", "language_modeling"),
        *("--sample-break-mode", "eos", "--prefix-size", 2, "--beam", 1),
    )
    assert len(re.findall(r"^H-\d+\t", output, re.M)) == 12


@pytest.mark.parametrize("kind", ["translation", "language"])
def test_interactive(kind, request):
    data = request.getfixturevalue(
        "translation_data" if kind == "translation" else "language_model_data"
    )
    checkpoint = request.getfixturevalue(f"{kind}_model")
    task = ["--task", "language_modeling"] if kind == "language" else []
    done = run(
        "fairseq-interactive",
        *(data, "--user-dir", USER_DIR, "--path", checkpoint, "--cpu", "--beam", 2, *task),
        *("--max-len-b", 12),
        stdin="w1 w2 w3\nw4 w5\n",
    )
    assert len(re.findall(r"^H-\d+\t", done.output, re.M)) == 2


def test_validate(translation_data, translation_model):
    done = run(
        "fairseq-validate",
        *(translation_data, "--user-dir", USER_DIR, "--path", translation_model, "--cpu"),
        *("--task", "translation", "--valid-subset", "valid,test", "--max-tokens", 128),
    )
    assert len(re.findall(r"seen_mass [\d.]+", done.output)) >= 2


def test_eval_lm(language_model_data, language_model):
    done = run(
        "fairseq-eval-lm",
        *(language_model_data, "--user-dir", USER_DIR, "--path", language_model, "--cpu"),
        *("--tokens-per-sample", 16, "--gen-subset", "test"),
    )
    perplexity = float(re.search(r"Perplexity: ([\d.]+)", done.output)[1])
    assert 2 < perplexity < 100  # a vocabulary of 24, two updates


def test_a_prefix_that_repeats_ngrams_stands(language_model_data, language_model):
    """Beside another sentence, which is as when decoded alone."""
    prefix = "w1 w2 w3 w4 w1 w2 w3 w5"
    flags = ("--task", "language_modeling", "--no-repeat-ngram-size", 3, "--beam", 2)
    flags += ("--min-len", 14, "--max-len-b", 14, "--buffer-size", 2, "--batch-size")
    both = interactive(language_model_data, language_model, [prefix, "w7 w8"], *flags, 2)
    ((_, text),) = hypotheses(both.stdout)[0]
    words = text.split()
    assert text.startswith(prefix) and len(words) == 14
    trigrams = [tuple(words[i : i + 3]) for i in range(12)]
    assert not [t for i, t in enumerate(trigrams) if i > 5 and t in trigrams[:i]]
    alone = interactive(language_model_data, language_model, ["w7 w8"], *flags, 1)
    assert hypotheses(both.stdout)[1] == hypotheses(alone.stdout)[0]


SEARCHES = {
    "groups": ["--beam", 4, "--diverse-beam-groups", 2],
    "siblings": ["--beam", 4, "--diversity-rate", 0.5],
    "lengths": ["--beam", 4, "--max-len-a", 0.6, "--max-len-b", 1, "--min-len", 3],
    "source length": ["--beam", 4, "--match-source-len"],
    "prefixes": ["--beam", 4, "--prefix-size", 6, "--min-len", 8, "--no-repeat-ngram-size", 2],
}


@pytest.mark.parametrize("flags", SEARCHES.values(), ids=SEARCHES.keys())
def test_the_batch_size_does_not_matter(flags, translation_data, translation_model):
    found = [
        hypotheses(
            generate(
                *(translation_data, translation_model, *flags, "--nbest", 4, "--batch-size", size)
            )
        )
        for size in (1, 4)
    ]
    assert len(found[0]) == 12
    assert found[0] == found[1]


def test_constraints(translation_data, translation_model):
    """One of two words, none, and one with an empty one; all in one batch, and one by one."""
    lines = ["w1 w2\tw9\tw8 w7", "w3 w4", "w5\t\tw6"]
    flags = ("--beam", 4, "--max-len-b", 12, "--constraints")
    for order in ([], ["unordered"]):
        done = interactive(
            *(translation_data, translation_model, lines, *flags, *order),
            *("--buffer-size", 3, "--batch-size", 3),
        )
        found = hypotheses(done.stdout)
        assert "w9" in found[0][0][1] and "w8 w7" in found[0][0][1]
        assert "w6" in found[2][0][1]
        alone = interactive(translation_data, translation_model, lines, *flags, *order)
        assert hypotheses(alone.stdout) == found
    free = interactive(translation_data, translation_model, [lines[1]], *flags[:4])
    assert hypotheses(free.stdout)[0] == found[1]


@pytest.mark.parametrize("order", [[], ["ordered"], ["unordered"]])
def test_constraints_that_are_nowhere(order, translation_data, translation_model):
    done = generation(translation_data, translation_model, "--constraints", *order, check=False)
    assert_refused(done, "--constraints")


@pytest.fixture(scope="module")
def raw_data(translation_data, text, tmp_path_factory):
    """The test set as lines, in which half of the words are unknown."""
    folder = tmp_path_factory.mktemp("raw")
    for side in ("en", "de"):
        shutil.copy(translation_data / f"dict.{side}.txt", folder)
        lines = (text / f"test.{side}").read_text()
        (folder / f"test.en-de.{side}").write_text(re.sub(r"\bw\d\b", "Zoë", lines))
    return folder


def test_unknown_words_are_copied(raw_data, translation_model, tmp_path):
    """Without a file, and with one that translates some; fairseq's tokens are the source's."""
    flags = ("--dataset-impl", "raw", "--beam", 2, "--unkpen", -30, "--print-alignment")
    plain = generate(raw_data, translation_model, *flags)
    copied = generate(raw_data, translation_model, *flags, "--replace-unk")
    (tmp_path / "words").write_text("Zoë Zoe\n", encoding="utf-8")
    given = generate(raw_data, translation_model, *flags, "--replace-unk", tmp_path / "words")
    sources = dict(re.findall(r"^S-(\d+)\t(.*)$", copied, re.M))
    for number, ((_, text),) in hypotheses(plain).items():
        pairs = re.search(rf"^A-{number}\t(.*)$", copied, re.M)[1].split()
        source_of = {int(t): int(s) for s, t in (pair.split("-") for pair in pairs)}
        want = [
            sources[str(number)].split()[source_of[place]] if word == "<unk>" else word
            for place, word in enumerate(text.split())
        ]
        assert "<unk>" in text and hypotheses(copied)[number][0][1].split() == want
        translated = [word.replace("Zoë", "Zoe") for word in want]
        assert hypotheses(given)[number][0][1].split() == translated
    assert re.search(r"^H-.*Zoë", copied, re.M)
    # The alignment is there without being printed.
    unprinted = generate(raw_data, translation_model, *flags[:-1], "--replace-unk")
    assert hypotheses(unprinted) == hypotheses(copied) and "\nA-" not in unprinted


def test_alignments_of_references(translation_data, tmp_path):
    """By transformer_align, whose alignment layer is the fifth unless it is named."""
    model = ["transformer_align" if flag == "transformer" else flag for flag in TINY_TRANSLATION]
    train(
        *(translation_data, tmp_path, model, "--max-update", 1),
        *("--criterion", "label_smoothed_cross_entropy"),
    )
    output = generate(
        *(translation_data, tmp_path / "checkpoint_last.pt"),
        *("--score-reference", "--print-alignment", "hard"),
    )
    targets = dict(re.findall(r"^T-(\d+)\t(.*)$", output, re.M))
    found = dict(re.findall(r"^A-(\d+)\t(.*)$", output, re.M))
    assert len(found) == 12
    for number, pairs in found.items():
        places = [int(pair.split("-")[1]) for pair in pairs.split()]
        assert places == list(range(len(targets[number].split())))


def test_soft_alignments_are_printed_by_generate_alone(translation_data, translation_model):
    flags = ("--print-alignment", "soft")
    assert (
        len(re.findall(r"^A-", generate(translation_data, translation_model, *flags), re.M)) == 12
    )
    done = interactive(translation_data, translation_model, ["w1"], *flags, check=False)
    assert_refused(done, "--print-alignment", "soft")


@pytest.mark.parametrize("impl", ["cached", "lazy"])
def test_data_that_are_not_mapped(impl, translation_data, translation_model, text, tmp_path):
    """Trained on and decoded like those of fairseq-preprocess's default, with several workers."""
    run(
        "fairseq-preprocess",
        *("--user-dir", USER_DIR, "--destdir", tmp_path / "data", "--dataset-impl", impl),
        *("-s", "en", "-t", "de", "--joined-dictionary"),
        *("--srcdict", translation_data / "dict.en.txt"),
        *(f"--{split}pref={text / split}" for split in ("train", "valid", "test")),
    )
    found = []
    for data, *flags in ((translation_data,), (tmp_path / "data", "--dataset-impl", impl)):
        save_dir = tmp_path / f"run{len(found)}"
        train(
            *(data, save_dir, TINY_TRANSLATION, "--criterion", "cross_entropy", *flags),
            *("--max-epoch", 2, "--num-workers", 2),
        )
        decoded = generate(data, translation_model, "--beam", 2, *flags)
        found.append((parameters(save_dir / "checkpoint_last.pt"), hypotheses(decoded)))
    (mapped, want), (other, got) = found
    assert want == got
    assert all(torch.equal(mapped[name], other[name]) for name in mapped)


def window_perplexity(data, checkpoint, window, context):
    """2 to the mean loss of every token, each block read behind so many tokens of the text."""
    from fairseq import checkpoint_utils

    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)])
    model.eval()
    dictionary = Dictionary.load(str(data / "dict.txt"))
    task.load_dataset("test")
    blocks = task.dataset("test")
    ids = [token for block in blocks for token in block["target"].tolist()]
    total, size = 0.0, window - context
    read = [dictionary.eos(), *ids[:-1]]
    for begin in range(0, len(ids), size):
        start, end = max(0, begin - context), min(begin + size, len(ids))
        with torch.no_grad():
            logits = model(torch.tensor([read[start:end]]))[0][0]
        lprobs = logits.log_softmax(-1)[torch.arange(end - start), torch.tensor(ids[start:end])]
        total -= float(lprobs[begin - start :].sum())
    return math.exp(total / len(ids))


@pytest.mark.parametrize("context", [0, 5, 12, 15])
def test_eval_lm_with_a_context(context, language_model_data, language_model):
    """The context may be longer than the block; batches and workers change nothing."""
    found = []
    for batch_size, workers in ((1, 0), (3, 2)):
        done = run(
            "fairseq-eval-lm",
            *(language_model_data, "--user-dir", USER_DIR, "--path", language_model, "--cpu"),
            *("--tokens-per-sample", 16, "--gen-subset", "test", "--context-window", context),
            *("--batch-size", batch_size, "--num-workers", workers),
        )
        found.append(float(re.search(r"Perplexity: ([\d.]+)", done.output)[1]))
    assert found[0] == found[1]
    want = window_perplexity(language_model_data, language_model, 16, context)
    assert found[0] == pytest.approx(want, abs=0.01)


@pytest.mark.parametrize("context", [16, 17, 400])
def test_no_block_is_left_beside_the_context(context, language_model_data, language_model):
    done = run(
        "fairseq-eval-lm",
        *(language_model_data, "--user-dir", USER_DIR, "--path", language_model, "--cpu"),
        *("--tokens-per-sample", 16, "--gen-subset", "test", "--context-window", context),
        check=False,
    )
    assert_refused(done, "--context-window", context, 16)


def test_contexts_are_in_one_process(language_model_data, language_model):
    done = run(
        "fairseq-eval-lm",
        *(language_model_data, "--user-dir", USER_DIR, "--path", language_model, "--cpu"),
        *("--tokens-per-sample", 16, "--context-window", 4, "--num-shards", 2, "--shard-id", 0),
        check=False,
    )
    assert_refused(done, "--context-window", "--num-shards", 2)


def test_a_minimum_above_the_maximum(translation_data, translation_model):
    done = generation(translation_data, translation_model, "--min-len", 50, check=False)
    assert_refused(done, "--min-len", 50, "--max-len-b", 12)
