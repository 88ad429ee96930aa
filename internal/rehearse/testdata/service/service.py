"""A service with users and passwords, as keyturn rehearse --service asks for.

It listens on a port of loopback and takes one line of JSON for each
connection: user, password, and new for another password.
"""

import json
import os
import secrets
import signal
import socket
import socketserver
import subprocess
import sys
import time

FOLDER = os.environ["KEYTURN_REHEARSE_DIR"]
PORT, PID, KEY = (os.path.join(FOLDER, name) for name in ("port", "pid", "key"))


def write(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def content(path):
    with open(path) as file:
        return file.read()


def ask(**question):
    with socket.create_connection(("127.0.0.1", int(content(PORT))), timeout=5) as connection:
        connection.sendall(json.dumps(question).encode() + b"\n")
        return connection.makefile().readline().strip()


def serve():
    users, key = {}, content(KEY)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            question = json.loads(self.rfile.readline() or "{}")
            user, password = question.get("user"), question.get("password")
            known = users.get(user) == password or question.get("key") == key
            if known and "new" in question:
                users[user] = question["new"]
            self.wfile.write(b"yes\n" if known else b"no\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    write(PORT, str(server.server_address[1]))
    server.serve_forever()


def start():
    write(KEY, secrets.token_hex(16))
    process = subprocess.Popen(
        [sys.executable, __file__, "serve"], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    write(PID, str(process.pid))
    while not os.path.exists(PORT):
        time.sleep(0.05)


def create(name):
    password = secrets.token_hex(16)
    ask(user=name, key=content(KEY), new=password)
    print(json.dumps({"secret": {
        "host": "127.0.0.1", "port": int(content(PORT)), "username": name, "password": password,
    }}))


def check():
    secret = json.load(sys.stdin)
    sys.exit(0 if ask(user=secret["username"], password=secret["password"]) == "yes" else 1)


def stop():
    os.kill(int(content(PID)), signal.SIGKILL)


{"serve": serve, "start": start, "create": create, "check": check, "stop": stop}[sys.argv[1]](*sys.argv[2:])
