"""Batches of examples, flat as network.py reads them, and where heads should look in them.

A question's aims (names as in the batch's "aims"): "marker", each token of a passage to the number before it;
"entity_e", to the passage's entity; "entity_q", what follows the entity in a question to it; "value", each token of an
answer's value to that token in the passage; "cite", the citation to the passage.
"""
import bisect
import collections

import torch

import corpus
from network import Layout
from tokenizer import SPACE

AIMS = ("marker", "entity_e", "entity_q", "value", "cite")
TAIL = 5  # tokens of an answer after its value: ". [n]<|im_end|>"


class Builder:
    """Collects examples of one passage count: the ids of their evidence, their rows, and aims.

    A row is (ids, [(start, end) of each answer]). Single: each question is a row of its own, alone after the evidence.
    Otherwise an example is one row, its questions following one another as turns.
    """

    def __init__(self, tok, single):
        self.tok, self.single = tok, single
        self.heads, self.rows = [], []
        self.aims = collections.defaultdict(list)  # (example, question, place in its row, in question, first key, end)

    def aim(self, name, question, place, first, end, own=False):
        """Adds an aim of the last example. `own`: the keys count within the row, else within the evidence."""
        self.aims[name].append((len(self.heads) - 1, question, place, own, first, end))

    def add(self, example):
        """Adds an example; returns how many tokens that was."""
        head, turns = corpus.chat(example)
        self.heads.append(self.tok.encode(head))
        areas = self.add_passages(example, head)
        rows, ids, answers = [], [], []
        for k, (texts, turn) in enumerate(zip(turns, example["turns"])):
            if self.single:
                ids, answers = [], []
            ids, start = self.append_turn(ids, *texts)
            answers.append((start, len(ids)))
            self.aim_question(k if self.single else 0, turn, start, ids, texts[0])
            if turn["gold"]:
                self.aim_answer(k if self.single else 0, turn, start, ids, areas[turn["gold"] - 1])
            else:
                self.aim("value", k if self.single else 0, start, 0, 1)
            if self.single:
                rows.append((ids, answers))
        if not self.single:
            rows.append((ids, answers))
        self.rows += rows
        return len(self.heads[-1]) + sum(len(ids) for ids, _ in rows)

    def append_turn(self, ids, question, answer):
        """The row with a turn more, and where the answer starts in it."""
        asked = ids + self.tok.encode(("\n" if ids else "") + question)
        return asked + self.tok.encode(answer), len(asked)

    def add_passages(self, example, head):
        """Aims within the evidence. Returns a function of characters to tokens and, of each passage, its place."""
        at = self.tok.starts(self.heads[-1])
        token = lambda c: bisect.bisect_right(at, c) - 1
        areas, begin = [], 0
        for i, (text, entity) in enumerate(zip(example["passages"], example["entities"])):
            begin = head.index(f"[{i + 1}] {text}", begin) + len(f"[{i + 1}]")
            first, end = token(begin), token(begin + len(text)) + 1
            name = begin + text.index(entity)
            name, name_end = token(name + 1), token(name + len(entity)) + 1
            areas.append((first, end, begin, token))
            for j in range(first, end):
                self.aim("marker", 0, j, first - 1, first)
            for j in range(name, end):
                self.aim("entity_e", 0, j, name, name_end)
        return areas

    def aim_question(self, k, turn, start, ids, question):
        """From the end of the entity's name in the question on, the name is what to look at."""
        asked = self.tok.encode(question)
        before = start - len(asked)
        at = self.tok.starts(asked)
        c = "".join(self.tok.tokens[i] for i in asked).index(SPACE + turn["entity"].replace(" ", SPACE))
        first = before + bisect.bisect_right(at, c) - 1
        end = before + bisect.bisect_right(at, c + len(turn["entity"]))
        for j in range(end - 1, len(ids)):
            self.aim("entity_q", k, j, first, end, own=True)

    def aim_answer(self, k, turn, start, ids, area):
        """Each token of the value is predicted one place before it; the first one already where the answer starts."""
        first, end, begin, token = area
        value = token(begin + turn["at"])
        size = token(begin + turn["at"] + len(turn["value"])) + 1 - value
        self.aim("value", k, start, value, value + 1)
        at = len(ids) - TAIL - size
        for j in range(size):
            self.aim("value", k, at + j - 1, value + j, value + j + 1)
        self.aim("cite", k, len(ids) - 4, first, end)


def batch_of(tok, r, passages, tokens_wanted, turns=10, p_single=0.75):
    """A batch of examples of one passage count drawn from `passages`, at least `tokens_wanted` tokens without padding."""
    n, single = r.choice(passages), r.random() < p_single
    builder, total = Builder(tok, single), 0
    while total < tokens_wanted:
        total += builder.add(corpus.example(r, passages=n, turns=turns if single else 6))
    return tensors_of(builder)


def padded(tok, rows):
    """Rows of ids as one tensor."""
    longest, padding = max(map(len, rows)), tok.id["<|endoftext|>"]
    return torch.tensor([x + [padding] * (longest - len(x)) for x in rows])


def aim_tensor(aims, layout):
    """Aims as rows and keys of the layout: a question's own keys follow those of its evidence."""
    shift = lambda own, key: key + layout.evidence if own else key
    found = [(b, k * layout.row + j, shift(own, first), shift(own, end)) for b, k, j, own, first, end in aims]
    return torch.tensor(found, dtype=torch.long).view(-1, 4).T


def tensors_of(builder):
    """The batch, flat: ids, positions, next tokens, which are `answer`'s and which other real ones, layout and aims."""
    tok, heads, rows = builder.tok, builder.heads, builder.rows
    evidence, questions = padded(tok, heads), padded(tok, [ids for ids, _ in rows])
    (examples, e_length), q_length = evidence.shape, questions.shape[1]
    lengths = torch.tensor([len(h) for h in heads])
    row_lengths = torch.tensor([len(ids) for ids, _ in rows])
    layout = Layout(examples, e_length, len(rows) // examples, q_length, lengths)
    flat = lambda e, q: torch.cat((e.reshape(-1), q.reshape(-1)))
    following = lambda x: torch.cat((x[:, 1:], x[:, :1]), 1)
    places_e, places_q = torch.arange(e_length), torch.arange(q_length)
    answers = torch.zeros(questions.shape, dtype=torch.bool)
    for i, (_, found) in enumerate(rows):
        for start, end in found:
            answers[i, start - 1 : end - 1] = True
    answer = flat(torch.zeros(evidence.shape, dtype=torch.bool), answers)
    real = flat(places_e < lengths[:, None] - 1, places_q < row_lengths[:, None] - 1)
    base = examples * e_length
    return {
        "ids": flat(evidence, questions),
        "positions": flat(places_e.expand(examples, -1), lengths.repeat_interleave(layout.questions)[:, None] + places_q),
        "next": flat(following(evidence), following(questions)),
        "answer": answer,
        "other": real & ~answer,
        "layout": layout,
        "answers": [(base + i * q_length + s, base + i * q_length + e) for i, (_, found) in enumerate(rows) for s, e in found],
        "aims": {name: aim_tensor(builder.aims[name], layout) for name in AIMS},
    }
