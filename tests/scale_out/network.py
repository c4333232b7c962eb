"""Replicas of the real binary, each in a network namespace, on a bridge of this process's own namespace."""
import http.client
import os
import signal
import subprocess
import tempfile
import time


def sh(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.1)


def make_bridge():
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "bridge", "type", "bridge")
    sh("ip", "addr", "add", "10.77.0.254/24", "dev", "bridge")
    sh("ip", "link", "set", "bridge", "up")


def dies_with_parent():
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Replica:
    """A namespace with a cable to the bridge, and a server in it that can be started again and again."""

    def __init__(self, number, binary):
        self.number, self.binary = number, binary
        self.address = f"10.77.0.{number}"
        self.cable = f"cable{number}"
        self.log = tempfile.TemporaryFile()
        self.server = None
        # It holds the namespace; the cable's other end is put into it.
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"], preexec_fn=dies_with_parent)
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != own, 10, "a namespace")
        sh("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        sh("ip", "link", "set", self.cable, "master", "bridge", "up")
        for words in (["link", "set", "lo", "up"], ["addr", "add", f"{self.address}/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"]):
            sh("nsenter", "-t", str(self.holder.pid), "-n", "ip", *words)

    def start(self):
        self.server = subprocess.Popen(
            ["nsenter", "-t", str(self.holder.pid), "-n", self.binary, "serve", "--host", self.address, "--insecure",
             "--threads", "1", "--kv-memory", "256MiB", "--max-running", "8", "--dashboard", "off"],
            stdout=self.log, stderr=self.log, preexec_fn=dies_with_parent)
        wait_until(self.ready, 120, f"replica {self.number} to be ready")

    def ready(self):
        if self.server.poll() is not None:
            raise AssertionError(f"replica {self.number} ended with {self.server.returncode}: {self.last_words()}")
        try:
            connection = http.client.HTTPConnection(self.address, 8080, timeout=5)
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def kill(self):
        self.server.kill()
        self.server.wait()

    def cut(self):
        """Pulls the cable at the bridge: nothing passes, and nobody is told."""
        sh("ip", "link", "set", self.cable, "nomaster")

    def mend(self):
        sh("ip", "link", "set", self.cable, "master", "bridge")

    def last_words(self):
        self.log.seek(0)
        return self.log.read()[-1500:].decode(errors="replace")


# A second front, which says what it takes a request's key to be.
KEYS = """
frontend keys
  bind 127.0.0.1:8001
  http-request wait-for-body time 10s
  http-request set-var(txn.key) req.body,lua.conversation,sha1,hex
  http-request return status 200 hdr x-key %[var(txn.key)]
"""


class Proxy:
    """HAProxy with deploy/haproxy, on a port of loopback."""

    PORT, KEYS_PORT = 8000, 8001

    def __init__(self, folder, replicas):
        self.work = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.work.name, "stats")
        extra = os.path.join(self.work.name, "extra.cfg")
        with open(extra, "w", encoding="utf-8") as file:
            file.write(f"global\n  stats socket {self.socket}\n" + KEYS)
        environment = dict(os.environ, MILLRACE_LISTEN=f"127.0.0.1:{self.PORT}",
                           MILLRACE_LUA=os.path.join(folder, "conversation.lua"))
        for replica in replicas:
            environment[f"MILLRACE_REPLICA_{replica.number}"] = f"{replica.address}:8080"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["haproxy", "-db", "-f", os.path.join(folder, "haproxy.cfg"), "-f", extra], env=environment,
            stdout=self.log, stderr=self.log, preexec_fn=dies_with_parent)
        wait_until(lambda: os.path.exists(self.socket), 30, f"HAProxy to start: {self.last_words()}")

    def ask(self, column):
        """{"replica1": "UP", ...}: a column of HAProxy's statistics."""
        import socket
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(self.socket)
            connection.sendall(b"show stat\n")
            text = b""
            while received := connection.recv(65536):
                text += received
        rows = [line.split(",") for line in text.decode().splitlines() if line]
        place = rows[0].index(column)
        return {row[1]: row[place] for row in rows[1:] if row[1].startswith("replica")}

    def wait_for(self, replica, state, seconds=60):
        name = f"replica{replica.number}"
        wait_until(lambda: self.ask("status")[name].startswith(state), seconds, f"{name} to be {state}")

    def wait_until_idle(self, replica, seconds=60):
        name = f"replica{replica.number}"
        wait_until(lambda: self.ask("scur")[name] == "0", seconds, f"{name} to have no session left")

    def last_words(self, count=3000):
        self.log.seek(0)
        return self.log.read()[-count:].decode(errors="replace")
