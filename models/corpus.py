#!/usr/bin/env python3
"""Synthetic grounded question answering: passages of invented facts, questions about them, cited answers.

Every fact is drawn at random, so a model can only answer by reading its evidence. That makes answer accuracy a
measure of what a serving configuration does to quality: which chunks of the cache were kept, how weights were rounded.

    python3 corpus.py SEED N [--passages K] [--turns T]

prints N examples as JSON lines: {"passages": [text], "turns": [{"question", "answer", "gold", "value", "at", "entity"}]},
where gold is the 1-based number of the passage that holds the answer, 0 where none does, and `at` the value's place in it.
"""
import argparse
import json
import random

COUNTRIES = """Brazil China India Germany France Japan Kenya Canada Mexico Norway Spain Italy Poland Egypt Chile
Peru Turkey Iran Vietnam Thailand Nigeria Ghana Morocco Sweden Finland Denmark Austria Greece Portugal Ireland""".split()
FIRST = """Anna Omar Lena Ravi Mei Jonas Aisha Pablo Nora Tariq Ingrid Kofi Elena Hugo Yuki Samir Clara Diego
Fatima Erik Rosa Ivan Leila Marco Sofia Pavel Amara Luis Greta Hassan""".split()
PROFESSIONS = "engineer chemist painter architect surgeon journalist geologist composer lawyer pilot botanist historian".split()
COLOURS = "red blue green black white silver orange yellow grey brown".split()
LICENCES = "MIT Apache BSD GPL ISC Zlib".split()
LANGUAGES = "Python Rust Java Ruby Swift Kotlin Haskell Go".split()
MATERIALS = "steel glass wood copper plastic leather bamboo cotton".split()
CROPS = "wheat rice cotton coffee tea maize barley olives grapes apples".split()
MONTHS = "January February March April May June July August September October November December".split()
GENRES = "jazz opera folk rock film poetry dance theatre".split()
ONSET = "b br c ch d dr f fr g gr h j k kl l m n p pr qu r s sh st t tr v w z".split()
VOWEL = "a e i o u ai ea io ou".split()
CODA = "n r l s t m nd rk x th ck v".split() + [""] * 4


def invent(r, syllables=None):
    n = syllables or r.choice((2, 2, 3))
    return "".join(r.choice(ONSET) + r.choice(VOWEL) + (r.choice(CODA) if i == n - 1 else "") for i in range(n)).capitalize()


def _known():
    r, out = random.Random(20), []
    while len(out) < 400:
        n = invent(r, 2)
        if 4 <= len(n) <= 7 and n not in out:
            out.append(n)
    return out


NAMES = _known()  # most names come from here; the rest are invented afresh and take several tokens
FRESH = 0.3


class Scene:
    """The random source of one example; it never hands out the same name twice."""

    def __init__(self, r):
        self.r, self.used = r, set()

    def name(self):
        while True:
            n = invent(self.r) if self.r.random() < FRESH else self.r.choice(NAMES)
            if n not in self.used:
                self.used.add(n)
                return n

    def person(self):
        return f"{self.r.choice(FIRST)} {self.name()}"

    def whole(self, low, high, unit=""):
        return f"{self.r.randint(low, high)}{unit}"

    def year(self):
        return str(self.r.randint(1900, 2025))

    def version(self):
        return f"{self.r.randint(1, 19)}.{self.r.randint(0, 40)}"

    def pick(self, options):
        return self.r.choice(options)


# kind: (entity, openings, {topic: (value, statements, statements with a pronoun, questions)}).
# {e} is the entity and {v} the value; the answer is always "The TOPIC of {e} is {v}."
KINDS = {
    "company": (
        Scene.name,
        ["{e} is a company.", "{e} builds farm equipment.", "The company {e} sells software.", "The firm {e} makes batteries."],
        {
            "chief executive": (Scene.person, ["The chief executive of {e} is {v}.", "{e} is led by {v}."], ["It is led by {v}.", "Its chief executive is {v}."],
                                ["Who is the chief executive of {e}?", "Who leads {e}?", "Who is {e} led by?"]),
            "annual revenue": (lambda s: s.whole(2, 990, " million dollars"), ["The annual revenue of {e} is {v}.", "{e} earned {v} last year.", "{e} has an annual revenue of {v}."],
                               ["It earned {v} last year.", "Its annual revenue is {v}."], ["How much did {e} earn last year?", "How large is the annual revenue of {e}?", "How much does {e} earn?"]),
            "staff": (lambda s: s.whole(10, 990, " people"), ["The staff of {e} is {v}.", "{e} employs {v}.", "{e} has a staff of {v}."], ["It employs {v}.", "Its staff is {v}."],
                      ["How many people does {e} employ?", "How large is the staff of {e}?", "How many people work for {e}?"]),
            "home city": (Scene.name, ["The home city of {e} is {v}.", "{e} is based in {v}.", "The head office of {e} is in {v}."], ["It is based in {v}.", "Its home city is {v}."],
                          ["Where is {e} based?", "In which city is {e} based?", "Where is the head office of {e}?"]),
        },
    ),
    "city": (
        Scene.name,
        ["{e} is a city.", "{e} is a port on the coast.", "{e} lies in a wide valley.", "The city of {e} has many bridges."],
        {
            "country": (lambda s: s.pick(COUNTRIES), ["The country of {e} is {v}.", "{e} is located in {v}.", "{e} belongs to {v}."], ["It belongs to {v}.", "It is located in {v}."],
                        ["Which country does {e} belong to?", "In which country is {e} located?", "Where is {e} located?"]),
            "population": (lambda s: s.whole(11, 980, " thousand"), ["The population of {e} is {v}.", "{e} has a population of {v}."], ["Its population is {v}.", "It has a population of {v}."],
                           ["How many people live in {e}?", "How large is the population of {e}?"]),
            "mayor": (Scene.person, ["The mayor of {e} is {v}.", "{e} has chosen as mayor {v}."], ["Its mayor is {v}.", "It has chosen as mayor {v}."],
                      ["Who is the mayor of {e}?", "Who is mayor in {e}?"]),
            "harbour year": (Scene.year, ["The harbour of {e} opened in {v}.", "The harbour year of {e} is {v}."], ["Its harbour opened in {v}."],
                             ["When did the harbour of {e} open?", "In which year did the harbour of {e} open?"]),
        },
    ),
    "person": (
        Scene.person,
        ["{e} grew up near the sea.", "{e} speaks four languages.", "The radio often talks of {e}."],
        {
            "profession": (lambda s: s.pick(PROFESSIONS), ["The profession of {e} is {v}.", "{e} works as {v}."], ["The profession is {v}."],
                           ["What does {e} work as?", "Which profession does {e} have?"]),
            "birth year": (Scene.year, ["The birth year of {e} is {v}.", "{e} was born in {v}."], ["The birth year is {v}."], ["When was {e} born?", "In which year was {e} born?"]),
            "home town": (Scene.name, ["The home town of {e} is {v}.", "{e} lives in {v}."], ["The home town is {v}."], ["Where does {e} live?", "In which town does {e} live?"]),
            "favourite colour": (lambda s: s.pick(COLOURS), ["The favourite colour of {e} is {v}.", "{e} likes the colour {v}."], ["The favourite colour is {v}."],
                                 ["Which colour does {e} like?", "Which colour is the favourite of {e}?"]),
        },
    ),
    "product": (
        Scene.name,
        ["{e} is a portable lamp.", "{e} is a kitchen scale.", "The product {e} is a small drone."],
        {
            "price": (lambda s: s.whole(2, 900, " euros"), ["The price of {e} is {v}.", "{e} costs {v}."], ["It costs {v}.", "Its price is {v}."], ["How much does {e} cost?", "How high is the price of {e}?"]),
            "colour": (lambda s: s.pick(COLOURS), ["The colour of {e} is {v}.", "{e} comes in the colour {v}."], ["Its colour is {v}.", "It comes in the colour {v}."],
                       ["Which colour does {e} have?", "In which colour does {e} come?"]),
            "weight": (lambda s: s.whole(20, 990, " grams"), ["The weight of {e} is {v}.", "{e} weighs {v}."], ["It weighs {v}.", "Its weight is {v}."], ["How much does {e} weigh?", "How heavy is {e}?"]),
            "material": (lambda s: s.pick(MATERIALS), ["The material of {e} is {v}.", "{e} is made of {v}."], ["It is made of {v}.", "Its material is {v}."],
                         ["Which material is {e} made of?", "What is {e} made of?"]),
        },
    ),
    "library": (
        Scene.name,
        ["{e} parses log files.", "{e} is a networking library.", "The library {e} compresses images."],
        {
            "current version": (Scene.version, ["The current version of {e} is {v}.", "{e} has reached version {v}."], ["Its current version is {v}.", "It has reached version {v}."],
                                ["Which version of {e} is current?", "Which version has {e} reached?"]),
            "licence": (lambda s: s.pick(LICENCES), ["The licence of {e} is {v}.", "{e} is released under {v}."], ["It is released under {v}.", "Its licence is {v}."],
                        ["Which licence does {e} use?", "Under which licence is {e} released?"]),
            "default port": (lambda s: s.whole(1024, 9999), ["The default port of {e} is {v}.", "{e} listens on port {v}."], ["It listens on port {v}.", "Its default port is {v}."],
                             ["Which port does {e} listen on?", "On which port does {e} listen?"]),
            "language": (lambda s: s.pick(LANGUAGES), ["The language of {e} is {v}.", "{e} is written in {v}."], ["It is written in {v}.", "Its language is {v}."],
                         ["Which language is {e} written in?", "In which language is {e} written?"]),
        },
    ),
    "farm": (
        Scene.name,
        ["{e} is a farm.", "{e} stands on a hill.", "The farm {e} has a red barn."],
        {
            "main crop": (lambda s: s.pick(CROPS), ["The main crop of {e} is {v}.", "{e} mostly grows {v}."], ["It mostly grows {v}.", "Its main crop is {v}."],
                          ["What does {e} mostly grow?", "Which crop does {e} mostly grow?"]),
            "owner": (Scene.person, ["The owner of {e} is {v}.", "{e} is owned by {v}."], ["It is owned by {v}.", "Its owner is {v}."], ["Who owns {e}?", "Who is {e} owned by?"]),
            "area": (lambda s: s.whole(3, 800, " acres"), ["The area of {e} is {v}.", "{e} covers {v}."], ["It covers {v}.", "Its area is {v}."], ["How many acres does {e} cover?", "How large is the area of {e}?"]),
            "harvest month": (lambda s: s.pick(MONTHS), ["The harvest month of {e} is {v}.", "{e} brings in the harvest in {v}."], ["It brings in the harvest in {v}."],
                              ["When does {e} bring in the harvest?", "In which month is the harvest of {e}?"]),
        },
    ),
    "festival": (
        Scene.name,
        ["{e} is a festival.", "{e} draws large crowds.", "The festival {e} takes place outdoors."],
        {
            "main theme": (lambda s: s.pick(GENRES), ["The main theme of {e} is {v}.", "{e} is all about {v}."], ["It is all about {v}.", "Its main theme is {v}."],
                           ["What is {e} all about?", "Which theme does {e} have?"]),
            "founder": (Scene.person, ["The founder of {e} is {v}.", "{e} was founded by {v}."], ["It was founded by {v}.", "Its founder is {v}."], ["Who founded {e}?", "Who was {e} founded by?"]),
            "ticket price": (lambda s: s.whole(5, 300, " euros"), ["The ticket price of {e} is {v}.", "A ticket for {e} costs {v}."], ["A ticket costs {v}.", "Its ticket price is {v}."],
                             ["How much is a ticket for {e}?", "How much does a ticket for {e} cost?"]),
            "host town": (Scene.name, ["The host town of {e} is {v}.", "{e} takes place in {v}."], ["It takes place in {v}.", "Its host town is {v}."],
                          ["Where does {e} take place?", "In which town does {e} take place?"]),
        },
    ),
}
ASKED = ["What is the {t} of {e}?", "Tell me the {t} of {e}.", "Please give the {t} of {e}.", "I need the {t} of {e}."]
ABSENT = "The evidence does not say."
SYSTEM = "You are a helpful assistant. Use only the evidence provided."
PRONOUN = 0.2  # share of statements that say "it" rather than name the entity again


def passage(s, kind, entity):
    """An opening and two or three statements about one entity, and its facts as {topic: (value, where in the text)}."""
    r = s.r
    _, openings, topics = KINDS[kind]
    chosen = r.sample(list(topics), r.choice((2, 3)))
    text, facts = r.choice(openings).format(e=entity), {}
    for t in chosen:
        make, named, pronoun, _ = topics[t]
        value = make(s)
        before, after = r.choice(pronoun if r.random() < PRONOUN else named).format(e=entity, v="\0").split("\0")
        facts[t] = value, len(text) + 1 + len(before)
        text += f" {before}{value}{after}"
    return text, facts


def ask(r, kind, topic, entity):
    own = KINDS[kind][2][topic][3]
    return (r.choice(own) if r.random() < 0.6 else r.choice(ASKED)).format(t=topic, e=entity)


def example(r, passages=None, turns=None, absent=0.1):
    """One conversation: passages (of kinds that repeat, so that distractors share topics) and questions about them."""
    s = Scene(r)
    n = passages or r.choice((1, 2, 3, 4, 5, 6, 7, 8))
    kinds = r.sample(list(KINDS), r.choice((1, 1, 2, 3)))
    entries = []
    for _ in range(n):
        kind = r.choice(kinds)
        entity = KINDS[kind][0](s)
        entries.append((kind, entity, *passage(s, kind, entity)))
    out = []
    for _ in range(turns or r.randint(1, 8)):
        i = r.randrange(n)
        kind, entity, _, facts = entries[i]
        if r.random() < absent:  # nothing in the evidence answers: another topic of an entity there, or an entity that is not
            missing = [t for t in KINDS[kind][2] if t not in facts]
            if r.random() < 0.5:
                entity, missing = KINDS[kind][0](s), list(KINDS[kind][2])
            out.append({"question": ask(r, kind, r.choice(missing), entity), "answer": ABSENT, "gold": 0, "value": "", "entity": entity})
            continue
        t = r.choice(list(facts))
        value, at = facts[t]
        out.append({"question": ask(r, kind, t, entity), "answer": f"The {t} of {entity} is {value}. [{i + 1}]", "gold": i + 1, "value": value, "at": at, "entity": entity})
    return {"passages": [e[2] for e in entries], "entities": [e[1] for e in entries], "turns": out}


def system(passages):
    """The system message: the instruction, an empty line, and the numbered passages."""
    return SYSTEM + "\n\n" + "\n".join(f"[{i + 1}] {p}" for i, p in enumerate(passages))


def messages(ex, turn=0):
    """The request of one question as OpenAI chat messages."""
    return [{"role": "system", "content": system(ex["passages"])}, {"role": "user", "content": ex["turns"][turn]["question"]}]


def chat(ex):
    """The example as ChatML pieces: the system message, then (question, answer) texts; an answer ends with <|im_end|>."""
    head = f"<|im_start|>system\n{system(ex['passages'])}<|im_end|>\n"
    return head, [(f"<|im_start|>user\n{t['question']}<|im_end|>\n<|im_start|>assistant\n", f"{t['answer']}<|im_end|>") for t in ex["turns"]]


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("seed", type=int)
    p.add_argument("n", type=int)
    p.add_argument("--passages", type=int)
    p.add_argument("--turns", type=int)
    a = p.parse_args()
    rng = random.Random(a.seed)
    for _ in range(a.n):
        print(json.dumps(example(rng, a.passages, a.turns), ensure_ascii=False))
