"""No file of ours runs what a user, a file or a flag says; nor do fairseq's options through us."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairseq_commands import TINY_LANGUAGE_MODEL, TINY_TRANSLATION, USER_DIR, run, train
from refusals import assert_refused

ROOT = Path(__file__).parents[2]
FOLDERS = ("genft_fairseq", "data-prep", "examples", "benchmarks")
# The last parts of the names of what must not be called, and how a call is harmless all the same.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "execfile"),
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "subprocess.getoutput"),
    *("pickle.load", "pickle.loads", "cPickle.load", "dill.load", "joblib.load", "shelve.open"),
    *("marshal.load", "marshal.loads", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle"),
    *("numpy.load", "np.load", "torch.load", "torch.hub.load", "yaml.load", "tarfile.extractall"),
}
ALLOWED = {
    # re.compile, which the names below are not; and np.load, which refuses pickles unless told.
    "np.load": lambda call: not _given(call, "allow_pickle"),
    "torch.load": lambda call: _is_true(call, "weights_only"),
    # Only with a loader that makes plain values: a SafeLoader of ours.
    "yaml.load": lambda call: ast.unparse(call.args[1]) == "_Loader",
}
# file:function -> why
REASONS = {
    "genft_fairseq/patches/safe_loading.py:load": "the one place that loads checkpoints: "
    "weights_only is set to True there, and to False for files that GENFT_TRUST_CHECKPOINT names",
}


def _given(call: ast.Call, name: str) -> bool:
    return any(keyword.arg in (name, None) for keyword in call.keywords)


def _is_true(call: ast.Call, name: str) -> bool:
    return any(
        keyword.arg == name
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for keyword in call.keywords
    )


def calls(tree: ast.AST, place: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the innermost function that it stands in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield place, node
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from calls(node, node.name if is_function else place)  # type: ignore[union-attr]


def imported(tree: ast.AST) -> dict[str, str]:
    """The whole names of what ``from x import y as z`` makes known as z."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def violations(source: str, name: str) -> list[str]:
    tree = ast.parse(source)
    found, known = [], imported(tree)
    for place, call in calls(tree):
        called = ast.unparse(call.func)
        called = known.get(called, called)
        shell = any(
            keyword.arg == "shell" and not _is_false(keyword.value) for keyword in call.keywords
        )
        harmless = called in ALLOWED and ALLOWED[called](call)
        if (shell or (called in FORBIDDEN and not harmless)) and f"{name}:{place}" not in REASONS:
            found.append(f"{name}:{call.lineno}: {called}{' with a shell' if shell else ''}")
    return found


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_nothing_is_evaluated_or_unpickled():
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found += violations(path.read_text("utf-8"), path.relative_to(ROOT).as_posix())
    assert found == []


BAD = {
    "eval": "def f(x):\n    return eval(x)\n",
    "pickle": "import pickle\npickle.load(open('x', 'rb'))\n",
    "pickle by another name": "from pickle import loads as read\nread(b'')\n",
    "weights": "import torch\ntorch.load('x', weights_only=False)\n",
    "weights by default": "import torch\ntorch.load('x')\n",
    "objects": "import numpy as np\nnp.load('x', allow_pickle=True)\n",
    "yaml": "import yaml\nyaml.load('x', yaml.Loader)\n",
    "shell": "import subprocess\nsubprocess.run('ls', shell=True)\n",
    "any shell": "import subprocess\nsubprocess.run('ls', shell=x)\n",
}


@pytest.mark.parametrize("source", BAD.values(), ids=BAD)
def test_the_search_finds_what_it_looks_for(source):
    assert len(violations(source, "bad.py")) == 1
    assert violations("import re\nre.compile('x')\nsubprocess.run(['ls'])\n", "good.py") == []


# --- fairseq's options ----------------------------------------------------------------------------


def code(marker: Path) -> str:
    return f"__import__('os').mkdir({str(marker)!r})"


TRAINING = [
    "--adam-betas",
    "--lr",
    "--update-freq",
    "--adaptive-softmax-cutoff",
    "--encoder-layers",
]


@pytest.mark.parametrize("flag", TRAINING)
def test_options_of_training_run_no_code(flag, folder, translation_data):
    """fairseq calls ``eval`` on them; with the plugin they are literals or refused."""
    marker = folder / "executed"
    model = TINY_TRANSLATION
    if flag == "--encoder-layers":
        model = ["--task", "translation", "-s", "en", "-t", "de", "--arch", "fconv"]
    done = train(
        *(translation_data, folder / "save", model, "--max-update", 1, flag, code(marker)),
        check=False,
    )
    assert_refused(done, "__import__")
    assert not marker.exists() and not list(folder.glob("save/*.pt"))


def test_options_of_a_language_model_run_no_code(folder, language_model_data):
    marker = folder / "executed"
    done = train(
        *(language_model_data, folder / "save", TINY_LANGUAGE_MODEL, "--max-update", 1),
        *("--adaptive-softmax-cutoff", code(marker)),
        check=False,
    )
    assert_refused(done, "__import__")
    assert not marker.exists()


@pytest.mark.parametrize("flag", ["--model-overrides", "--lm-path", "--iter-decode-eos-penalty"])
def test_options_of_decoding_run_no_code(flag, folder, translation_data, translation_baseline):
    marker = folder / "executed"
    done = run(
        "fairseq-generate",
        *(translation_data, "--user-dir", USER_DIR, "--cpu", "--max-len-b", 5),
        *("--path", translation_baseline / "checkpoint_last.pt", flag, code(marker)),
        check=False,
    )
    assert done.returncode != 0 and not marker.exists()
