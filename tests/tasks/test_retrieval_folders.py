"""``--task retrieval``: the folders that it reads, and that it predicts no text."""

import pytest
import tiny_retrieval
from refusals import refuses


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_retrieval.make_folder(tmp_path_factory.mktemp("retrieval"))


def load(data):
    from genft_fairseq.tasks.retrieval import RetrievalConfig, RetrievalTask

    cfg = RetrievalConfig(data=str(data), seed=1, train_subset="train", dataset_impl=None)
    task = RetrievalTask.setup_task(cfg)
    task.load_dataset("train")
    return task


def test_a_folder_of_something_else(tmp_path, data):
    with refuses("dict.question.txt"):
        load(tmp_path)
    (tmp_path / "dict.question.txt").write_text("word 1\n")
    with refuses("dict.question.txt", "<question>", "<title>"):
        load(tmp_path)
    (tmp_path / "dict.question.txt").write_text((data / "dict.question.txt").read_text())
    with refuses("train.question-answer", error=FileNotFoundError):
        load(tmp_path)
    for path in data.glob("train.question-answer.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with refuses("train.align.question-answer", error=FileNotFoundError):
        load(tmp_path)


def test_the_task_predicts_no_text(data):
    task = load(data)
    assert task.target_dictionary is None and task.max_positions() is None
    assert len(task.dataset("train")) == 24
