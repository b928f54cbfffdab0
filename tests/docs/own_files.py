"""Files of a user's own, which some pages name: small ones; and the README's placeholders."""

import json
import shutil
from pathlib import Path

LINKS = {
    "DATA": "data-bin/translation",
    "data-bin/wmt14_en_de": "translation",
    "LM_DATA": "data-bin/language_modeling",
    "checkpoint_best.pt": "checkpoints/lm/checkpoint_best.pt",
    "baseline": "checkpoints/standard",
}
CITIES = {"Paris": "France", "Rome": "Italy", "Madrid": "Spain", "Oslo": "Norway", "Bern": "Suisse"}


def add_own_files(world: Path) -> None:
    """Add them to the world of a page."""
    for name, target in LINKS.items():
        (world / name).symlink_to(target)
    passages = [(city, f"{city} is the capital of {country} .") for city, country in CITIES.items()]
    rows = [f"{number}\t{text}\t{title}" for number, (title, text) in enumerate(passages, 1)]
    (world / "psgs.tsv").write_text("\n".join(["id\ttext\ttitle", *rows]) + "\n")
    asked = [
        {"question": f"what is the capital of {country} ?", "answers": [city]}
        for city, country in CITIES.items()
    ]
    (world / "train.json").write_text(json.dumps(asked))
    ctxs = [{"title": title, "text": text} for title, text in passages]
    for name in ("dev", "test"):
        lines = [json.dumps({**question, "ctxs": ctxs}) for question in asked[:3]]
        (world / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (world / "my").mkdir()
    for text in (world / "data-bin" / "translation" / "raw").iterdir():
        shutil.copy(text, world / "my")
    paragraphs = (f"The {number} cats sat on the mat of the house.\n\n" for number in range(200))
    (world / "my-book.txt").write_text("".join(paragraphs))
