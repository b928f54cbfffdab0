"""Tasks that fairseq has half moved to configuration objects: they train and decode, or say no."""

import shutil

import pytest
from fairseq_commands import TINY_TRANSLATION, USER_DIR, run, train
from refusals import assert_refused

PLAIN = ["--criterion", "label_smoothed_cross_entropy", "--max-update", 2]
PLUGIN = ["--user-dir", USER_DIR, "--cpu"]


def model_of(task, *flags):
    model = [task if word == "translation" else word for word in TINY_TRANSLATION]
    return [*model, *flags]


def test_translation_from_pretrained_bart(translation_data, tmp_path):
    task = "translation_from_pretrained_bart"
    model = model_of(task, "--langs", "en,de")
    train(
        translation_data, tmp_path, model, *PLAIN, "--eval-bleu", "--eval-bleu-args", '{"beam":1}'
    )
    shared = [*PLUGIN, "--task", task, "--langs", "en,de", "-s", "en", "-t", "de"]
    shared += ["--path", tmp_path / "checkpoint_last.pt", "--max-len-b", 5]
    assert run("fairseq-generate", translation_data, *shared).stdout.count("H-") == 12
    scored = run("fairseq-generate", translation_data, *shared, "--score-reference")
    assert scored.stdout.count("H-") == 12
    typed = run("fairseq-interactive", translation_data, *shared, stdin="w1 w2\n")
    assert typed.stdout.count("H-") == 1


def test_translation_from_pretrained_xlm(text, translation_data, tmp_path):
    task, data = "translation_from_pretrained_xlm", tmp_path / "data"
    dictionary = translation_data / "dict.en.txt"
    prefixes = [f"--{split}pref={text / split}" for split in ("train", "valid", "test")]
    run(
        *("fairseq-preprocess", "--user-dir", USER_DIR, "--task", task, "-s", "en", "-t", "de"),
        *("--srcdict", dictionary, "--tgtdict", dictionary, "--destdir", data, *prefixes),
    )
    save = tmp_path / "save"
    train(data, save, model_of(task), *PLAIN)
    done = run(
        *("fairseq-generate", data, *PLUGIN, "--task", task, "-s", "en", "-t", "de"),
        *("--path", save / "checkpoint_last.pt", "--max-len-b", 5),
    )
    assert done.stdout.count("H-") == 12


@pytest.mark.parametrize("weights", [[], ["--lambda-denoising-config", "1.0"]])
def test_semisupervised_translation(weights, translation_data, tmp_path):
    task = "semisupervised_translation"
    model = model_of(task, "--lang-pairs", "en-de", *weights)
    model[model.index("transformer")] = "multilingual_transformer"
    for flag in ("-s", "-t"):
        del model[model.index(flag) : model.index(flag) + 2]
    model.remove("--share-all-embeddings")
    done = train(translation_data, tmp_path / "save", model, *PLAIN, check=False)
    assert_refused(done, f"--task {task}", unwritten=tmp_path / "save")


def test_cross_lingual_lm(language_model_data, tmp_path):
    """Its dictionary is that of the XLM tasks."""
    data = shutil.copytree(language_model_data, tmp_path / "data")
    for path in list(data.glob("*.bin")) + list(data.glob("*.idx")):
        path.rename(data / f"{path.stem}.xx{path.suffix}")
    done = train(
        *(data, tmp_path / "save", ["--task", "cross_lingual_lm", "--arch", "masked_lm"]),
        *("--monolingual-langs", "xx", "--tokens-per-sample", 16, "--encoder-layers", 1),
        *("--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 16),
        *("--encoder-attention-heads", 2, "--criterion", "legacy_masked_lm_loss"),
        *("--masked-lm-only", "--max-update", 2),
    )
    assert (tmp_path / "save" / "checkpoint_last.pt").exists(), done.error
