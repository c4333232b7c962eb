"""A client that sees how an answer ends: whole, refused, or broken off."""
import json
import socket

# Silence after which an answer counts as hanging: in many short waits, so that a machine that stood still for a while
# is not taken for one.
WAITS, WAIT = 30, 2.0


class Answer:
    def __init__(self):
        self.status = 0  # 0: not even a head came
        self.headers = {}
        self.body = b""
        self.whole = False  # the body's end was seen
        self.hung = False  # silence instead of an end

    @property
    def replica(self):
        return self.headers.get("x-millrace-replica", "")


class Reader:
    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""

    def more(self):
        for waited in range(WAITS):
            try:
                received = self.connection.recv(65536)
                self.buffer += received
                return bool(received)
            except TimeoutError:
                if waited == WAITS - 1:
                    raise

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                return None
        taken, self.buffer = self.buffer.split(mark, 1)
        return taken

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.more():
                return None
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken


def read_answer(reader, answer):
    head = reader.until(b"\r\n\r\n")
    if head is None:
        return
    lines = head.decode("latin-1").split("\r\n")
    answer.status = int(lines[0].split()[1])
    for line in lines[1:]:
        name, value = line.split(":", 1)
        answer.headers[name.lower()] = value.strip()
    if answer.headers.get("transfer-encoding") != "chunked":
        body = reader.exactly(int(answer.headers.get("content-length", 0)))
        answer.body, answer.whole = body or b"", body is not None
        return
    while True:
        size = reader.until(b"\r\n")
        chunk = size is not None and reader.exactly(int(size, 16) + 2)
        if not chunk:
            return
        answer.body += chunk[:-2]
        if int(size, 16) == 0:
            answer.whole = True
            return


def post(port, path, body, answer=None):
    """One request on a connection of its own. `answer` can be looked at meanwhile."""
    answer = answer or Answer()
    text = json.dumps(body).encode()
    try:
        with socket.create_connection(("127.0.0.1", port), WAIT) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n"
            connection.sendall(head.encode() + text)
            read_answer(Reader(connection), answer)
    except TimeoutError:
        answer.hung = True
    except OSError:
        pass  # the connection broke: an explicit end
    return answer
