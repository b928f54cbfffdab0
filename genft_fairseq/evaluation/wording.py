"""What messages call the things that a model reads and writes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The words of one kind of task.

    Attributes:
        read: one of what the model reads.
        written: one of what it writes.
        link: between the two: an answer *to* a question.
        too_long: what those are that do not fit into the model.
        advice: what to do about these.
    """

    read: str
    written: str
    link: str
    too_long: str
    advice: str


ANSWERS = Wording(
    read="question",
    written="answer",
    link="to",
    too_long="longer with what is read with them",
    advice="prepare the data with shorter passages",
)
SUMMARIES = Wording(
    read="source",
    written="summary",
    link="of",
    too_long="longer",
    advice="prepare the data with shorter sources (--max-source-tokens)",
)
