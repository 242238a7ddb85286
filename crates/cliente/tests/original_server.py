"""A server in the manner of the original exercise: one connection at a time, one recv, no line ends, then it closes."""

import socket

MAXIMUM_CONNECTIONS = 5

server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server.bind(("127.0.0.1", 0))
server.listen(MAXIMUM_CONNECTIONS)
print(server.getsockname()[1], flush=True)

while True:
    connection, address = server.accept()
    text = connection.recv(1024)
    number = int(text)
    if len(str(number)) > 10:
        answer = str(number)
    elif number % 2 == 0:
        answer = "PAR"
    else:
        answer = "ÍMPAR"
    connection.send(answer.encode())
    connection.close()
