// The bare minimum that a line server costs: one thread, one epoll, and every byte sent back as it came.
// It is what `cargo xtask bench` measures the others against; it keeps no limit, no timeout, no count and no log.
//
//     epoll_echo PORT

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_EVENTS = 1024, READ_SIZE = 16 * 1024 };

static void die(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

static void watch(int epoll, int socket) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) < 0) die("epoll_ctl");
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
    if (listen(listener, 1024) < 0) die("listen");
    return listener;
}

static void accept_all(int epoll, int listener) {
    for (;;) {
        int peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (peer >= 0) {
            watch(epoll, peer);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != ECONNABORTED) {
            die("accept4");
        }
    }
}

static void echo(int peer) {
    static char bytes[READ_SIZE];
    ssize_t length = recv(peer, bytes, sizeof bytes, 0);
    if (length < 0 && errno == EAGAIN) return;
    // A peer that does not read is none of the bench's: it would need a buffer.
    if (length <= 0 || send(peer, bytes, length, MSG_NOSIGNAL) != length) close(peer);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: epoll_echo PORT\n");
        return EXIT_FAILURE;
    }
    int listener = listen_on(atoi(arguments[1]));
    int epoll = epoll_create1(0);
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[MOST_EVENTS];
        int ready = epoll_wait(epoll, events, MOST_EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) {
                accept_all(epoll, listener);
            } else {
                echo(events[i].data.fd);
            }
        }
    }
}
