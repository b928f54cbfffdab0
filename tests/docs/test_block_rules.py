"""The test of command blocks fails where it should."""

from pathlib import Path

import pytest
from docs.blocks import BadPage, blocks
from docs.worlds import World

TRAIN = """fairseq-train data-bin/translation --user-dir genft_fairseq --arch transformer \\
  --criterion scalegrad --optimizer adam --lr 1e-4 --max-tokens 4096 --max-update 1000"""


def page(folder: Path, *parts: str) -> Path:
    path = folder / "page.md"
    path.write_text("# Title\n\n" + "\n".join(parts))
    return path


def bash(text: str, mark: str | None = None) -> str:
    comment = f"<!-- checked: {mark} -->\n" if mark else ""
    return f"{comment}```bash\n{text}\n```\n"


def test_blocks_and_their_lines(tmp_path):
    found = blocks(page(tmp_path, bash("true"), "text\n", bash("genft doctor", "needs a GPU")))
    assert [(b.line, b.text, b.mark) for b in found] == [
        (4, "true\n", None),
        (11, "genft doctor\n", "needs a GPU"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```sh\ntrue\n```", "page.md:3: a fence of sh"),
        ("```console\n$ true\n```", "page.md:3: a fence of console"),
        (bash("true", "needs luck"), "page.md:3: the mark 'needs luck' is none of needs a network"),
        ("<!-- checked: needs a GPU -->\n\n" + bash("true"), "page.md:3: a mark that is not above"),
        ("<!-- checked: needs a GPU -->\n```text\nx\n```", "page.md:3: a mark that is not above"),
    ],
)
def test_rules_of_pages(tmp_path, text, said):
    with pytest.raises(BadPage, match="") as error:
        blocks(page(tmp_path, text))
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "mark", "said"),
    [
        ("true\nfalse", None, "line 5: false"),
        ("cat nowhere.txt | sort", None, "nowhere.txt"),
        ("nosuchcommand --help", None, "nosuchcommand: command not found"),
        (f"{TRAIN} --gama 0.2", None, "unrecognized arguments: --gama 0.2"),
        (f"{TRAIN} --gamma 2", None, "--gamma must lie in (0, 1], but is 2.0"),
        ("genft doctor --jsn", None, "No such option"),
        ("pip install genft_fairseq", None, "pip is not run by a test: mark the block"),
        (f"{TRAIN} --gama 0.2", "needs a GPU", "unrecognized arguments: --gama 0.2"),
        ("genft train data -- --arch transformer --gama 1", "needs a GPU", "--gama"),
        ("genft evaluate-lm DATA --pth x", "needs a GPU", "No such option '--pth'"),
        ("genft evaluate-ml DATA", "needs a GPU", "there is no command evaluate-ml"),
        ("rsync a b", "needs a network", "rsync: command not found"),
        ("make demos", "needs a network", "demos"),
        ("pip install --quietly x", "needs a network", "no such option: --quietly"),
        ("git push", "needs a network", "only git clone"),
        ("torchrun --nodez 2 x.py", "needs a GPU", "--nodez"),
        (f"torchrun --no-python {TRAIN} --gama 1", "needs a GPU", "--gama"),
        (f"srun --nodes 2 {TRAIN} --gama 1", "needs a GPU", "--gama"),
        ("srun --nodez 2 fairseq-train data", "needs a GPU", "--nodez is not known here"),
        ("data-prep/prepare-multi30k.sh --form x", "needs a network", "has no option --form"),
        ("data-prep/prepare-mutli30k.sh", "needs a network", "No such file"),
        ("python benchmarks/losses.py --thread 1", "needs a GPU", "No such option"),
        ("examples/translation/wmt14_en_de/train.sh huge", "needs a GPU", "no set-up huge"),
    ],
)
def test_commands_that_fail(tmp_path, world: World, text, mark, said):
    with pytest.raises(BadPage) as error:
        world.run_page(page(tmp_path, bash(text, mark)))
    assert said in str(error.value)
    assert str(error.value).startswith(f"page.md:{5 if mark else 4}: ended with ")


def test_commands_that_succeed(tmp_path, world: World):
    """A run is the real one, made small; a checked block leaves nothing behind."""
    texts = [
        bash(f"{TRAIN} --gamma 0.5 --save-dir checkpoints/new | tail -n 1 >last.txt"),
        bash("test -s last.txt && genft doctor --json >doctor.json"),
        bash(
            f"for gamma in 0.2 0.5; do\n  {TRAIN} --gamma $gamma --fp16 # twice\ndone",
            "needs a GPU",
        ),
        bash("make demo\ncd somewhere\npip install -e '.[hf]'", "needs a network"),
        bash(f"torchrun --nnodes 2 --no-python {TRAIN} --distributed-world-size 2", "needs a GPU"),
        bash("data-prep/prepare-wmt14-en-de.sh --workers 8 --out data-bin/x", "needs a network"),
        bash("examples/translation/wmt14_en_de/train.sh base", "needs a GPU"),
    ]
    world.run_page(page(tmp_path, *texts))
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu

    state = load_checkpoint_to_cpu(str(world.folder / "checkpoints/new/checkpoint_best.pt"))
    assert state["cfg"]["criterion"].gamma == 0.5
    assert state["cfg"]["model"].decoder_layers == 1
    assert state["last_optimizer_state"]["state"][0]["step"] == 2
    assert not (world.folder / "data-bin" / "x").exists()
    assert not (world.folder / "somewhere").exists()
