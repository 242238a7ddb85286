"""Clients in the manner of the original exercise and of its siblings, for original.rs.

usage: original_client.py PORT KIND MESSAGE...

Each message goes out as it is, without a line end, in one send; one recv(1024) takes the answer.
"""

import socket
import sys


def connect(port):
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(("127.0.0.1", port))
    return client


def ask(client, message):
    client.send(message.encode())
    print(client.recv(1024).decode(), "FIM")


port, kind, messages = int(sys.argv[1]), sys.argv[2], sys.argv[3:]

if kind == "original":
    for message in messages:
        client = connect(port)
        ask(client, message)
        client.close()
elif kind == "half-close":
    for message in messages:
        client = connect(port)
        client.send(message.encode())
        client.shutdown(socket.SHUT_WR)
        print(client.recv(1024).decode(), "FIM")
        client.close()
elif kind == "one-connection":
    client = connect(port)
    for message in messages:
        ask(client, message)
    client.close()
else:
    sys.exit(f"no such kind of client: {kind}")
