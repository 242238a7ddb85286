// The bare minimum that rounds with fresh connections cost: one thread, one epoll, the system calls of a round, and one check.
// It is what `cargo xtask bench` measures `cliente` against; it keeps no deadline, no count and no log, and probes one target at a time.
//
//     epoll_probe PORT TARGETS
//
// Each of the first TARGETS addresses of the loopback network is probed once a second.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const long SECOND = 1000000000;
static const char NUMBER[] = "12345678901234567\n";

static void die(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static ssize_t receive(int epoll, int peer, char *bytes, size_t size) {
    for (;;) {
        ssize_t length = recv(peer, bytes, size, 0);
        if (length >= 0) return length;
        if (errno != EAGAIN) die("recv");
        struct epoll_event event;
        epoll_wait(epoll, &event, 1, -1);
    }
}

static void probe(int epoll, struct sockaddr_in address) {
    int peer = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(peer, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = peer};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, peer, &event) < 0) die("epoll_ctl");
    epoll_wait(epoll, &event, 1, -1);
    if (send(peer, NUMBER, strlen(NUMBER), MSG_NOSIGNAL) < 0) die("send");
    char reply[64];
    ssize_t length = receive(epoll, peer, reply, sizeof reply);
    if (length != (ssize_t)strlen(NUMBER) || memcmp(reply, NUMBER, length) != 0) {
        fprintf(stderr, "wrong reply\n");
        exit(EXIT_FAILURE);
    }
    shutdown(peer, SHUT_WR);
    receive(epoll, peer, reply, 1);
    close(peer);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: epoll_probe PORT TARGETS\n");
        return EXIT_FAILURE;
    }
    long targets = atol(arguments[2]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    int epoll = epoll_create1(0);
    long due = now();
    for (long target = 0;; target = (target + 1) % targets) {
        long wait = due - now();
        struct timespec timeout = {.tv_nsec = wait > 0 ? wait : 0};
        struct epoll_event event;
        epoll_pwait2(epoll, &event, 1, &timeout, NULL);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + target);
        probe(epoll, address);
        due += SECOND / targets;
    }
}
