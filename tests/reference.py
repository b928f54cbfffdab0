"""The losses as slow loops, transcribed from the equations one sequence and one position at a time.

They use autograd on a dense softmax and nothing of the package, so that agreement means something.
All return (B, T), nats, 0 at padding.

Below them published measures, token by token or letter by letter: a language model's figures of
gold prefixes, SQuAD's of ASCII text.
"""

import math

import torch
from torch import Tensor


def nll(logits: Tensor, target: Tensor, padding_idx: int) -> Tensor:
    """``-log p_t(y_t)``."""
    return _per_position(logits, target, padding_idx, lambda p, seen, y: -(p[y].log()))


def scalegrad(logits: Tensor, target: Tensor, gamma: float, padding_idx: int) -> Tensor:
    """``-log q_t(y_t)``, q the distribution with novel tokens scaled by gamma, renormalised."""

    def loss(p: Tensor, seen: set[int], y: int) -> Tensor:
        weight = torch.full_like(p, gamma)
        weight[list(seen)] = 1.0
        rescaled = weight * p
        return -(rescaled[y] / rescaled.sum()).log()

    return _per_position(logits, target, padding_idx, loss)


def unlikelihood(logits: Tensor, target: Tensor, padding_idx: int) -> Tensor:
    """``sum over c in C_t minus {y_t} of -log max(1 - p_t(c), 1e-5)``."""

    def loss(p: Tensor, seen: set[int], y: int) -> Tensor:
        total = p.new_zeros(())
        for candidate in sorted(seen - {y}):
            total = total - (1 - p[candidate]).clamp(min=1e-5).log()
        return total

    return _per_position(logits, target, padding_idx, loss)


def sequence_unlikelihood(logits: Tensor, text: Tensor, padding_idx: int) -> Tensor:
    """``-log max(1 - p_t(x_t), 1e-20)``, with 1 - p the sum of the other tokens' probabilities."""
    rows = []
    for b in range(text.size(0)):
        row = []
        for t in range(text.size(1)):
            x = int(text[b, t])
            others = [v for v in range(logits.size(-1)) if v != x]
            rest = logits[b, t, others].logsumexp(-1) - logits[b, t].logsumexp(-1)
            cost = -rest if float(rest.detach()) > -46.051701859880914 else 46.051701859880914
            row.append(logits.new_zeros(()) if x == padding_idx else logits.new_zeros(()) + cost)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def seen_mass(logits: Tensor, target: Tensor, padding_idx: int) -> Tensor:
    """``sum over v in C_t of p_t(v)``."""
    return _per_position(logits, target, padding_idx, lambda p, seen, y: p[sorted(seen)].sum())


def smooth(logits: Tensor, target: Tensor, padding_idx: int) -> Tensor:
    """``-sum over the vocabulary of log p_t(v)``."""
    return _per_position(logits, target, padding_idx, lambda p, seen, y: -p.log().sum())


def first_token(nll: Tensor, target: Tensor, padding_idx: int) -> Tensor:
    """(B,): the nll at the first unpadded position of every row."""
    rows = []
    for b in range(target.size(0)):
        positions = [t for t in range(target.size(1)) if target[b, t] != padding_idx]
        rows.append(nll[b, positions[0]] if positions else nll.new_zeros(()))
    return torch.stack(rows)


def peer_token_figures(scores, text: list[int], n: int) -> dict[str, float]:  # type: ignore
    """The figures of gold prefixes as custom/gpt2/run_gpt2.py and custom/metrics.py define them.

    The text is cut into rows of n + 1 tokens; the model reads the first n of each, and the last n
    are predicted.  What a prediction may repeat are targets of its own row, so not the first token.

    Args:
        scores: of tokens, (n,), the scores of what follows each, (n, V).
        text: token ids.
        n: tokens predicted of a row.
    """
    lengths = (16, 32, 128, 512)
    nll, ranks, medians, argmaxes, targets = 0.0, [], [], [], []
    counts = {f"{name}_{k}": 0 for k in lengths for name in ("rep", "wrep", "human_rep")}
    for start in range(0, len(text) // (n + 1) * (n + 1), n + 1):
        row = text[start : start + n + 1]
        gold, of_row = row[1:], []
        for t, line in enumerate(scores(row[:n]).double()):
            best = int(line.argmax())
            nll -= float(line.log_softmax(-1)[gold[t]])
            of_row.append(int((line > line[gold[t]]).sum()))
            argmaxes.append(best)
            for k in lengths:
                before = gold[max(0, t - k) : t]
                counts[f"rep_{k}"] += best in before
                counts[f"wrep_{k}"] += best in before and best != gold[t]
                counts[f"human_rep_{k}"] += gold[t] in before
        targets += gold
        ranks += of_row
        medians.append(sorted(of_row)[(len(of_row) - 1) // 2])
    N = len(ranks)
    return {
        "perplexity": math.exp(nll / N),
        "nll": nll / N,
        "accuracy": ranks.count(0) / N,
        "mean_rank": sum(ranks) / N,
        "median_rank": sum(medians) / len(medians),
        **{name: count / N for name, count in counts.items()},
        "uniq": len(set(argmaxes)),
        "human_uniq": len(set(targets)),
        "tokens": N,
    }


def _per_position(logits, target, padding_idx, loss) -> Tensor:  # type: ignore[no-untyped-def]
    rows = []
    for b in range(target.size(0)):
        seen: set[int] = set()
        row = []
        for t in range(target.size(1)):
            y = int(target[b, t])
            if y == padding_idx:
                row.append(logits.new_zeros(()))
                continue
            row.append(loss(logits[b, t].softmax(-1), seen, y))
            seen.add(y)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def scalegrad_dense_masks(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """ScaleGrad's loss summed over positions, by the dense masks that its authors' code builds.

    The cost that the closed form is measured against: for one unpadded sequence after the other,
    the tokens of every prefix are scattered into a (T, V) mask of floats, the probabilities are
    multiplied by it, 1e-8 is added, and the result is renormalised.
    """
    total = logits.new_zeros((), dtype=torch.float32)
    for row_logits, row_target in zip(logits, target, strict=True):
        probs = row_logits.float().softmax(-1)  # (T, V)
        length = row_target.size(0)
        # Row t holds y_1 .. y_{t-1}; places not yet seen repeat a token that never counts.
        prefixes = row_target.expand(length, length).tril(-1)  # (T, T)
        filled = torch.ones_like(prefixes).tril(-1).float()
        seen = torch.zeros_like(probs).scatter_reduce_(1, prefixes, filled, reduce="amax")
        novel = 1.0 - seen
        rescaled = probs * novel * gamma + probs * seen + 1e-8
        rescaled = rescaled / rescaled.sum(-1, keepdim=True)
        total = total - rescaled.gather(1, row_target[:, None]).log().sum()
    return total


def squad_normalised(text: str) -> str:
    """SQuAD's ``normalize_answer`` letter by letter: lower case, no punctuation, no articles."""
    kept = ""
    for letter in text:
        code = ord(letter.lower())
        # ! to /, : to @, [ to `, { to ~: ASCII's punctuation as the script takes it.
        if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
            continue
        kept += letter.lower()
    spaced, run = "", ""
    for letter in [*kept, None]:
        if letter is not None and letter.isalnum():
            run += letter
            continue
        spaced += " " if run in ("a", "an", "the") else run
        spaced += letter or ""
        run = ""
    return " ".join(spaced.split())


def squad_scores(prediction: str, answers: list[str]) -> tuple[int, float]:
    """Exact match and F1 of SQuAD 2.0's script: the largest of each over the answers."""
    golds = [gold for gold in answers if squad_normalised(gold)]
    if not golds:
        golds = [""]
    best_exact, best_f1 = 0, 0.0
    for gold in golds:
        given, right = squad_normalised(prediction), squad_normalised(gold)
        best_exact = max(best_exact, int(given == right))
        given_words, right_words = given.split(), right.split()
        if not given_words or not right_words:
            best_f1 = max(best_f1, float(given_words == right_words))
            continue
        left, same = list(right_words), 0
        for word in given_words:
            if word in left:
                left.remove(word)
                same += 1
        if same:
            precision, recall = same / len(given_words), same / len(right_words)
            best_f1 = max(best_f1, 2 * precision * recall / (precision + recall))
    return best_exact, best_f1
