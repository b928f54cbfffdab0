"""What importing the package does: fairseq is patched and extended once, and nothing large loaded.

Each script runs in a process of its own.  ``tests/commands/test_training.py`` starts
``fairseq-train`` and ``fairseq-hydra-train`` with the plugin from nothing.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from fairseq_commands import REPOSITORY, USER_DIR

# In a process that has imported fairseq, tells whether the package has done its part.
REGISTERED = """
import sys

def registered():
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.distributed import utils
    from fairseq.models import MODEL_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    patched = hasattr(utils.call_main, "__wrapped__")
    names = ("scalegrad", CRITERION_REGISTRY), ("fid", TASK_REGISTRY), ("gpt2", MODEL_REGISTRY)
    found = {patched, *(name in registry for name, registry in names)}
    assert len(found) == 1, "only in part"
    return found.pop()

def import_user_dir(path):
    from argparse import Namespace
    from fairseq.utils import import_user_module

    import_user_module(Namespace(user_dir=path))
"""


def run(folder: Path, script: str, python: Path | str = sys.executable, *path: Path) -> str:
    """Run a script in a folder, as a file, with this package and ``path`` to import from."""
    (folder / "script.py").write_text(REGISTERED + script)
    search = os.pathsep.join(map(str, (*path, REPOSITORY)))
    done = subprocess.run(
        [str(python), str(folder / "script.py")],
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LIGHT = """
from genft_fairseq.cli import genft, main

def called(*words, **variables):
    import os
    sys.argv = ["genft", *words]
    os.environ.update(variables)
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
    for name in variables:
        del os.environ[name]

called("--version")
called("--help")
called("user-dir")
for name in genft.commands:
    called(name, "--help")
words = {"COMP_WORDS": "genft eval", "COMP_CWORD": "1"}
called(_GENFT_COMPLETE="bash_complete", **words)
words = {"COMP_WORDS": "genft evaluate-lm --prefix", "COMP_CWORD": "2"}
called(_GENFT_COMPLETE="bash_complete", **words)
import genft_fairseq.errors
heavy = {"torch", "fairseq", "numpy", "transformers", "rich"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_and_completion_import_nothing_large(tmp_path):
    printed = run(tmp_path, LIGHT)
    assert USER_DIR in printed.splitlines()
    assert "plain,evaluate-summaries" in printed and "plain,--prefix-length" in printed


FUNCTIONAL_FIRST = """
import multiprocessing
import genft_fairseq.functional.token_loss

def known(dataset, config):
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

    return registered() and type(config) is CRITERION_DATACLASS_REGISTRY["scalegrad"]

if __name__ == "__main__":
    import genft_fairseq
    assert "fairseq" not in sys.modules
    import fairseq_cli.train  # half imported when fairseq is complete, and patched
    import_user_dir(genft_fairseq.__path__[0])
    assert registered()
    genft_fairseq.register()
    genft_fairseq.register()
    import_user_dir(genft_fairseq.__path__[0])

    from genft_fairseq.criterions.scalegrad import ScaleGradCriterionConfig
    from genft_fairseq.data.fid_dataset import FiDDataset

    # The worker imports fairseq because of the dataset, whose module the registered task needs:
    # it is half imported at that moment.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(known, [FiDDataset, ScaleGradCriterionConfig()])
"""


def test_the_losses_first_then_user_dir_then_a_spawned_worker(tmp_path):
    run(tmp_path, FUNCTIONAL_FIRST)


def test_user_dir_names_a_link(tmp_path, warm_python):
    """fairseq imports the package under the name of the link."""
    (tmp_path / "plugin").symlink_to(USER_DIR)
    script = """
assert "fairseq" in sys.modules and not registered()
import_user_dir("plugin")
assert registered()
import genft_fairseq
assert sys.modules["plugin"] is genft_fairseq
import_user_dir(genft_fairseq.__path__[0])
"""
    run(tmp_path, script, warm_python.python)


BROKEN = """
import genft_fairseq.functional.token_loss
assert genft_fairseq.fairseq_error is None
for _ in range(2):
    try:
        genft_fairseq.register()
    except ValueError as error:
        assert genft_fairseq.fairseq_error is error
    else:
        raise AssertionError("register() has not failed")
sys.argv = ["genft", "doctor", "--json"]
try:
    from genft_fairseq.cli import main
    main()
except SystemExit as end:
    assert end.code == 1
"""


def test_a_fairseq_that_does_not_import(tmp_path):
    package = tmp_path / "broken" / "fairseq"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise ValueError("mutable default")\n')
    shown = run(tmp_path, BROKEN, sys.executable, package.parent)
    checks = {check["name"]: check for check in json.loads(shown)}
    assert "mutable default" in checks["fairseq"]["found"] and checks["fairseq"]["advice"]
