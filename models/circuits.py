"""What the weights are before training: circuits that a trained model would have had to find first.

Layer 0 copies earlier tokens into registers of the residual stream, at distances that rotary phases in the biases of Q
and K pick out. Later layers have heads that match registers with registers: induction heads (Olsson et al., 2022) and
heads that know a passage by the names in it. Heads start close to these roles and are free to leave them.
"""
import dataclasses
import math

import torch

from tokenizer import CONTROL, SPACE, VOCABULARY


@dataclasses.dataclass
class Plan:
    """Roles of heads. `offsets`, in layer 0: a distance back, or (nearest, farthest) for a bag of tokens.

    `roles`, in later layers: "previous", what stood before the key is what the query holds; "long bag" and "short bag",
    surroundings match surroundings; "token in bag" and "bag to token"; "recent name"; "marker", the last "]" and so
    the number of the passage (in layer 1; later "number", which reads it); "entity", the name a passage is about.
    """

    offsets: list
    roles: list


PLANS = {
    8: Plan([1, 2, (-1, 6), (-1, 13)],
            ["previous", "long bag", "short bag", "token in bag", "recent name", "bag to token", "marker", "entity"]),
    4: Plan([1, 2, (-1, 12)], ["previous", "marker", "long bag", "entity"]),
}  # fmt: skip


def orthogonal(n, m):
    """A random (n, m) matrix whose rows or columns, whichever are fewer, are orthonormal."""
    q, _ = torch.linalg.qr(torch.randn(max(n, m), min(n, m)))
    return q if n >= m else q.T.contiguous()


def token_types(tok):
    """One of six features for each token's text, so that names share something before they are learned."""

    def kind(t):
        body = t[1:] if t[0] == SPACE else t
        if t in CONTROL:
            return 5
        if not body[:1].isalnum():
            return 4
        if body[0].isdigit():
            return 3
        if t[0] == SPACE:
            return 0 if body[0].isupper() else 1
        return 2

    out = torch.zeros(VOCABULARY, 6)
    for i, t in enumerate(tok.tokens):
        out[i, kind(t)] = 1
    return out


def first_of_pairs(half):
    """A value for each pair of a head's elements, which lie half a head apart: at the first, and zero at the second."""
    return torch.cat((half, torch.zeros_like(half)))


class Start:
    """Lays the circuits out in a model's weights. The order of the random draws is part of the recipe."""

    def __init__(self, model, tok):
        s = model.shape
        self.model, self.tok, self.plan = model, tok, PLANS[s["heads"]]
        self.d, self.heads, self.hd = s["d"], s["heads"], s["d"] // s["heads"]
        self.tokens = self.d // 2  # the residual stream's first half names the token; registers of d / 8 follow
        self.f = model.frequencies()
        slow = (self.f < 0.004).float()
        self.slow = torch.cat((slow, slow))[:, None]  # elements that hardly turn: for content, not place

    @torch.no_grad()
    def lay_out(self):
        """Sets all weights."""
        for layer in self.model.layers:
            self.random(layer)
        self.embeddings()
        self.earlier_tokens(self.model.layers[0])
        self.name_mark = torch.randn(self.hd) * self.slow[:, 0]
        self.name_mark /= self.name_mark.norm()
        self.passage, self.matched = orthogonal(self.d, 2 * self.hd).chunk(2, 1)
        for i, layer in enumerate(self.model.layers[1:], 1):
            self.matching(layer, i)

    def random(self, layer):
        """Random weights, small where they write to the residual stream."""
        for w in (layer.qkv, layer.o, layer.gate_up, layer.down):
            w.normal_(std=0.7 / math.sqrt(w.shape[-1]))
        layer.o *= 0.3
        layer.down *= 0.2
        layer.qkv[:2] /= self.hd**0.25  # softmax(q k) has no 1 / sqrt(head size) in it here; export puts it back

    def embeddings(self):
        """Tokens get nearly orthogonal codes and their type; the head reads them from a rotated copy of the stream."""
        m, d, n = self.model, self.d, self.tokens
        m.embed.normal_().mul_(0.1 / math.sqrt(d))
        m.embed[:, :n] = torch.randn(VOCABULARY, n) / math.sqrt(n)
        self.types = torch.zeros(6, d)
        self.types[:, -d // 8 :] = torch.randn(6, d // 8) / math.sqrt(d // 8) * 0.7
        m.embed += token_types(self.tok) @ self.types
        self.output = torch.linalg.qr(torch.randn(d, d))[0]
        m.head.copy_(m.embed @ self.output.T * 0.7)

    def views(self, layer):
        """Q, K and V as (heads, head size, d), the biases of Q and K as (heads, head size), O as (d, heads, head size)."""
        q, k, v = (layer.qkv[i].view(self.heads, self.hd, self.d) for i in range(3))
        qb, kb = (layer.qkv_bias[i].view(self.heads, self.hd) for i in range(2))
        return q, k, v, qb, kb, layer.o.view(self.d, self.heads, self.hd)

    def phases(self, offset):
        """Amplitude and phase for each frequency, and how many tokens they cover.

        With them score(distance) = sum of amplitude * cos(frequency * distance - phase), greatest at the offset.
        """
        f = self.f
        if isinstance(offset, int):
            return torch.full_like(f, 9.0), offset * f, 1
        near, far = offset
        half = (far - near) / 2
        usable = (f < 2.0 / half) & (f > 0.6 / (half + 1))
        return torch.where(usable, 8.0, 0.0), (near + far) / 2 * f, far - near

    def earlier_tokens(self, layer):
        """Heads of layer 0 that copy the tokens at the plan's offsets, each into a register of its own."""
        q, k, v, qb, kb, o = self.views(layer)
        n, width = self.tokens, self.d // 8
        self.code, self.register = [], []  # (head size, d): reads a token's own code, and what a register holds
        for h, offset in enumerate(self.plan.offsets):
            code, write = torch.zeros(self.hd, self.d), torch.zeros(self.d, self.hd)
            code[:, :n] = orthogonal(self.hd, n)
            at = n + h * width
            write[at : at + width] = orthogonal(width, self.hd)
            self.code.append(code)
            self.register.append(write.T)
            amplitude, phase, covered = self.phases(offset)
            v[h] = code
            # the norm makes h = sqrt(d) x, and a token's code has norm sqrt(head size / tokens)
            o[:, h] = write * math.sqrt(n / self.hd) / math.sqrt(self.d) * math.sqrt(covered)
            q[h] *= 0.1
            k[h] *= 0.1
            a = amplitude.sqrt()
            qb[h] = first_of_pairs(a)
            kb[h] = torch.cat((a * phase.cos(), a * phase.sin()))

    def band(self, low, high, score):
        """A bias that prefers near keys within about 1 / frequency: `score` at frequencies between the two."""
        return first_of_pairs(torch.where((self.f < high) & (self.f > low), score, 0.0).sqrt())

    def matching(self, layer, index):
        """The heads of a later layer, by the plan's roles."""
        layer.o.mul_(0.5)
        n, views = self.tokens, self.views(layer)
        values = orthogonal(n, n)[: n // self.hd * self.hd].view(-1, self.hd, n)
        for h, role in enumerate(self.plan.roles):
            views[0][h] *= 0.2
            views[1][h] *= 0.2
            if role == "marker":
                (self.marker if index == 1 else self.number)(views, h)
                continue
            if role == "entity" and index > 1:
                continue
            if role == "recent name":
                self.recent_name(views, h)
            elif role != "entity":
                self.match(views, h, role)
            self.hand_on(views, h, values[h % len(values)], to_output=index > 1 or role == "recent name")

    def far(self, views, h):
        """Makes a head look far back: neither at itself nor at its own sentence."""
        bias = self.band(0.005, 0.02, 5.0)
        views[3][h], views[4][h] = bias, -bias

    def match(self, views, h, role):
        """Query and key meet where what the one reads in the residual stream is what the other reads."""
        code, register = self.code, self.register
        read = {
            "previous": (code[0], register[0]),
            "long bag": (register[-1], register[-1]),
            "short bag": (register[-2], register[-2]),
            "token in bag": (code[-1], register[-1]),
            "bag to token": (register[-1], code[-1]),
        }[role]
        if role in ("long bag", "short bag"):
            self.far(views, h)
        views[0][h] += read[0] * self.slow * 0.8
        views[1][h] += read[1] * self.slow * 0.8

    def recent_name(self, views, h):
        """Looks at the most recent token that begins with a capital."""
        _, k, _, qb, kb, _ = views
        recent = self.band(0.02, 0.2, 7.0)
        qb[h], kb[h] = recent + 3 * self.name_mark, recent
        k[h] += self.name_mark[:, None] * self.types[0] * 3

    def marker(self, views, h):
        """Looks at the most recent "]" and hands on the number before it."""
        _, k, v, qb, kb, o = views
        mark = self.band(0.005, 0.05, 7.0)
        qb[h], kb[h] = mark + 3 * self.name_mark, mark
        k[h] += self.name_mark[:, None] * self.model.embed[self.tok.id["]"]] * 0.5
        v[h] = self.register[0]
        o[:, h] = self.passage / 6

    def number(self, views, h):
        """Finds a passage far back, by features left to training, and says the number that the marker's head left there."""
        q, k, v, _, _, o = views
        self.far(views, h)
        q[h] += self.matched.T * self.slow * 0.8
        k[h] += self.matched.T * self.slow * 0.8
        v[h] = self.passage.T
        o[:, h] = self.output @ self.code[0].T * 0.15

    def hand_on(self, views, h, value, to_output):
        """What a head does with the token it finds: has it said next, or hands it on in a code of its own."""
        _, _, v, _, _, o = views
        v[h] = 0
        v[h, :, : self.tokens] = value
        if to_output:
            o[:, h] = self.output[:, : self.tokens] @ value.T * 0.4
        else:
            o[:, h] = torch.randn(self.d, self.hd) / math.sqrt(self.d) * 0.2
