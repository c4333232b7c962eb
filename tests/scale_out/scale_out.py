"""Conversations through HAProxy to three replicas, of which each in turn is killed, cut off and drained.

What must hold: answers that are not streamed are never lost; a stream that breaks says so (it ends without its proper
end, in bounded time); a drained replica finishes its own; and while all are well, conversations stay where their
prefixes are cached.
"""
import collections
import os
import sys
import threading
import time
import unittest

import client
import network

BINARY = sys.argv.pop()
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "haproxy")
TALKERS = 16
TURNS = 4
FACTS = "[1] {0} is a networking library. The licence of {0} is Zlib. The default port of {0} is {1}."


class Turn:
    def __init__(self, conversation, number, streamed, answer, started, ended):
        self.conversation, self.number, self.streamed, self.answer = conversation, number, streamed, answer
        self.started, self.ended = started, ended

    @property
    def whole(self):
        answer = self.answer
        if answer.status != 200 or not answer.whole:
            return False
        return answer.body.endswith(b"data: [DONE]\n\n") if self.streamed else b'"finish_reason"' in answer.body


class Talker(threading.Thread):
    """Has one conversation after the other until it is told to stop."""

    def __init__(self, number, turns, stop):
        super().__init__(daemon=True)
        self.number, self.turns, self.stop, self.count = number, turns, stop, 0

    def run(self):
        while not self.stop.is_set():
            self.count += 1
            self.converse(f"Talker{self.number}Conversation{self.count}", streamed=self.count % 2 == 0)

    def converse(self, name, streamed):
        system = "You are a helpful assistant. Use only the evidence provided.\n\n" + FACTS.format(name, 2000 + self.count)
        messages = [{"role": "system", "content": system}]
        for number in range(TURNS):
            messages.append({"role": "user", "content": f"What is the default port of {name}?"})
            body = {"messages": messages, "temperature": 0, "max_tokens": 192, "ignore_eos": True, "stream": streamed}
            started = time.monotonic()
            answer = client.post(network.Proxy.PORT, "/v1/chat/completions", body)
            self.turns.append(Turn(name, number, streamed, answer, started, time.monotonic()))
            if self.stop.is_set() or answer.status != 200:
                return
            messages.append({"role": "assistant", "content": f"It is {2000 + self.count}. [1]"})


class LongStreams:
    """Streams under way at each replica, to be there when it goes."""

    def __init__(self):
        self.answers = [client.Answer() for _ in range(12)]
        self.threads = [threading.Thread(target=self.run, args=pair, daemon=True) for pair in enumerate(self.answers)]
        for thread in self.threads:
            thread.start()
        network.wait_until(lambda: all(answer.status for answer in self.answers), 60, "all streams to begin")

    @staticmethod
    def run(number, answer):
        body = {"messages": [{"role": "user", "content": f"Long story number {number}"}], "temperature": 0,
                "max_tokens": 1500, "ignore_eos": True, "stream": True}
        client.post(network.Proxy.PORT, "/v1/chat/completions", body, answer)

    def ends_at(self, name):
        """How those of one replica ended: (whole, broken off); a silent one is an error, as is one of another replica."""
        for thread in self.threads:
            thread.join(180)
        assert not any(answer.hung for answer in self.answers), "a stream fell silent"
        ends = collections.Counter()
        for answer in self.answers:
            whole = answer.whole and answer.body.endswith(b"data: [DONE]\n\n")
            assert whole or not answer.whole, "a stream without its last event ended as if whole"
            assert whole or answer.replica == name, f"a stream of {answer.replica} broke"
            ends[whole] += answer.replica == name
        print(f"long streams at {name}: {ends[True]} whole, {ends[False]} broken off", flush=True)
        return ends[True], ends[False]


class Load:
    """Talkers at work while the block runs; `turns` are theirs."""

    def __enter__(self):
        self.turns, self.stop = [], threading.Event()
        self.talkers = [Talker(i, self.turns, self.stop) for i in range(TALKERS)]
        for talker in self.talkers:
            talker.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for talker in self.talkers:
            talker.join(180)

    def wait_for_turns(self, more):
        start = len(self.turns)
        network.wait_until(lambda: len(self.turns) >= start + more, 180, f"{more} answers")


class ScaleOut(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        network.make_bridge()
        cls.replicas = [network.Replica(number, BINARY) for number in (1, 2, 3)]
        for replica in cls.replicas:
            replica.start()
        cls.proxy = network.Proxy(FOLDER, cls.replicas)
        for replica in cls.replicas:
            cls.proxy.wait_for(replica, "UP")

    def check(self, turns, what):
        """Whole answers that are not streamed, explicit ends of streams. How many streams broke."""
        plain = [turn for turn in turns if not turn.streamed]
        streams = [turn for turn in turns if turn.streamed]
        lost = [(turn.answer.status, turn.answer.hung, turn.answer.body[:200]) for turn in plain if not turn.whole]
        broken = [turn for turn in streams if not turn.whole]
        slowest = max(turn.ended - turn.started for turn in turns)
        print(f"{what}: {len(plain)} answers, {len(lost)} lost; {len(streams)} streams, {len(broken)} broken off; "
              f"slowest {slowest:.1f} s", flush=True)
        self.assertGreater(len(plain), 5)
        self.assertGreater(len(streams), 5)
        self.assertEqual(lost, [], what)
        for turn in broken:
            self.assertFalse(turn.answer.hung, f"{what}: a stream fell silent")
            ended_as_if_whole = turn.answer.status == 200 and turn.answer.whole and b'"error"' not in turn.answer.body
            self.assertFalse(ended_as_if_whole, f"{what}: a stream without its last event ended as if whole")
        return len(broken)

    def check_affinity(self, turns, what):
        # Not those of the start: while next to nothing runs, twice the average is soon reached.
        early = {turn.conversation for turn in turns[:2 * TALKERS]}
        conversations = {}
        for turn in turns:
            if turn.conversation not in early:
                conversations.setdefault(turn.conversation, []).append(turn.answer.replica)
        several = {name: used for name, used in conversations.items() if len(used) > 1}
        kept = [name for name, used in several.items() if len(set(used)) == 1]
        shares = {name: sum(used.count(name) for used in conversations.values())
                  for name in sorted(set(sum(conversations.values(), [])))}
        print(f"{what}: {len(kept)} of {len(several)} conversations stayed at their replica; answers by replica {shares}",
              flush=True)
        self.assertGreaterEqual(len(kept), 0.95 * len(several))
        self.assertEqual(len(shares), 3, "one replica does nothing")

    def key(self, body):
        answer = client.post(network.Proxy.KEYS_PORT, "/", body)
        self.assertEqual(answer.status, 200)
        return answer.headers["x-key"]

    def test_0_keys(self):
        say = lambda role, content: {"role": role, "content": content}
        nothing = self.key("")
        for system in ("Be brief.", "\u4f60\u597d \"quoted\" \\ {[", [{"type": "text", "text": "a part"}], "x" * 60000):
            first = [say("system", system), say("user", "First?")]
            later = first + [say("assistant", "Yes."), say("user", "Second?" * 30000)]
            key = self.key({"model": "m", "messages": first, "stream": True})
            self.assertEqual(key, self.key({"temperature": 1, "messages": later}), "a turn changed the key")
            self.assertNotEqual(key, self.key({"messages": [first[0], say("user", "Other?")]}))
            self.assertNotEqual(key, self.key({"messages": [say("system", "Other."), first[1]]}))
            self.assertNotEqual(key, nothing)
        # Without a system message; Anthropic's, whose markers wander; the Responses API's.
        self.assertEqual(self.key({"messages": [say("user", "a")]}),
                         self.key({"messages": [say("user", "a"), say("assistant", "b"), say("user", "c")]}))
        part = {"type": "text", "text": "a"}
        marked = dict(part, cache_control={"type": "ephemeral"})
        self.assertEqual(self.key({"system": [marked], "messages": [say("user", [marked])]}),
                         self.key({"system": [part], "messages": [say("user", [part]), say("assistant", "b")]}))
        self.assertNotEqual(self.key({"system": "s", "messages": [say("user", "a")]}),
                            self.key({"system": "t", "messages": [say("user", "a")]}))
        self.assertNotEqual(self.key({"input": "a", "instructions": "b"}), self.key({"input": "a", "instructions": "c"}))
        self.assertEqual(self.key({"input": [say("user", "a")]}), self.key({"input": [say("user", "a"), say("user", "b")]}))
        # A hint wins; an empty one does not.
        self.assertEqual(self.key({"prompt_cache_key": "k", "messages": [say("user", "a")]}),
                         self.key({"messages": [say("user", "b")], "prompt_cache_key": "k"}))
        self.assertEqual(self.key({"prompt_cache_key": "", "messages": [say("user", "a")]}),
                         self.key({"messages": [say("user", "a")]}))
        # A prompt that grows; a first message that the buffer cuts.
        self.assertEqual(self.key({"prompt": "a" * 2000}), self.key({"prompt": "a" * 3000}))
        self.assertEqual(self.key({"messages": [say("user", "a" * 200000)]}), self.key({"messages": [say("user", "a" * 300000)]}))
        # What is no conversation has keys of its own, too.
        odd = [self.key(body) for body in ({}, [], 7, "text", {"messages": []}, {"messages": [7]}, {"prompt": [1, 2]}, {"a": 1})]
        self.assertNotIn(nothing, odd)
        self.assertEqual(len(set(odd)), len(odd))

    def test_1_steady(self):
        with Load() as load:
            load.wait_for_turns(16 * TALKERS)
        self.assertEqual(self.check(load.turns, "steady"), 0)
        self.check_affinity(load.turns, "steady")
        # Kept, and worth it: a later turn finds its prefix computed.
        later = [turn for turn in load.turns if turn.number > 0 and not turn.streamed]
        cached = [turn for turn in later if b'"cached_tokens":0' not in turn.answer.body]
        print(f"steady: {len(cached)} of {len(later)} later turns found their prefix", flush=True)
        self.assertGreaterEqual(len(cached), 0.95 * len(later))

    def lose(self, index, away, back, phase, settle=lambda replica: None):
        """A replica goes under load, the others serve, and it comes back; its streams break explicitly."""
        replica = self.replicas[index]
        with Load() as load:
            load.wait_for_turns(2 * TALKERS)
            streams = LongStreams()
            away(replica)
            self.assertGreater(streams.ends_at(f"replica{index + 1}")[1], 0)
            self.proxy.wait_for(replica, "DOWN")
            settle(replica)
            load.wait_for_turns(4 * TALKERS)
            back(replica)
            self.proxy.wait_for(replica, "UP")
            load.wait_for_turns(2 * TALKERS)
        self.check(load.turns, phase)

    def test_2_killed(self):
        self.lose(0, lambda replica: replica.kill(), lambda replica: replica.start(), "killed")

    def test_3_cut_off(self):
        self.lose(1, lambda replica: replica.cut(), lambda replica: replica.mend(), "cut off",
                  settle=lambda replica: self.proxy.wait_until_idle(replica, 30))

    def test_4_drained(self):
        replica = self.replicas[2]
        with Load() as load:
            load.wait_for_turns(2 * TALKERS)
            streams = LongStreams()
            replica.server.terminate()
            whole, broken = streams.ends_at("replica3")
            self.assertGreater(whole, 0)
            self.assertEqual(broken, 0)
            self.assertEqual(replica.server.wait(60), 0)
            load.wait_for_turns(4 * TALKERS)
            replica.start()
            self.proxy.wait_for(replica, "UP")
            load.wait_for_turns(2 * TALKERS)
        self.assertEqual(self.check(load.turns, "drained"), 0, "draining broke a stream")

    def test_5_steady_again(self):
        with Load() as load:
            load.wait_for_turns(12 * TALKERS)
        self.assertEqual(self.check(load.turns, "steady again"), 0)
        self.check_affinity(load.turns, "steady again")

    def test_6_the_key_is_never_empty(self):
        # Whatever is sent comes to a replica, and answers come back as they are.
        for body in ({}, {"messages": []}, {"prompt": ""}, {"messages": "x"}, [], "", {"messages": [{"role": "user"}]}):
            answer = client.post(network.Proxy.PORT, "/v1/chat/completions", body)
            self.assertEqual(answer.status, 400, body)
            self.assertTrue(answer.replica)

    def test_7_a_crowd_is_spread(self):
        # All of one key: what is over its share goes elsewhere, and all is answered.
        messages = [{"role": "user", "content": "The same question of everybody"}]
        body = {"messages": messages, "temperature": 0, "max_tokens": 400, "ignore_eos": True}
        answers = []
        crowd = [threading.Thread(target=lambda: answers.append(client.post(network.Proxy.PORT, "/v1/chat/completions", body)))
                 for _ in range(24)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
        self.assertEqual([answer.status for answer in answers], [200] * 24)
        shares = collections.Counter(answer.replica for answer in answers)
        print(f"a crowd of one key: {dict(shares)}", flush=True)
        self.assertGreater(len(shares), 1)


if __name__ == "__main__":
    outcome = unittest.main(verbosity=2, exit=False).result
    if not outcome.wasSuccessful():
        print(ScaleOut.proxy.last_words(), *[replica.last_words() for replica in ScaleOut.replicas], sep="\n---\n")
    sys.exit(not outcome.wasSuccessful())
