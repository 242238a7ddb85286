// The least that asking costs: one thread, one epoll, and replies that are counted, not understood.
// `cargo xtask bench` loads every server with it, so that all get the same requests in the same way.
//
//     epoll_load [-m kept|fresh|original] [-c CONNECTIONS] [-d DEPTH] [-n REQUESTS] [-r RATE] [-q REQUEST] HOST PORT
//
// kept:  opens CONNECTIONS, asks once on each, prints `ready` and waits for a line (or the end) of standard input;
//        then sends DEPTH requests at a time on each until REQUESTS are answered, prints what it came to, and keeps
//        the connections open until standard input ends. `-n 0` only holds them.
// fresh: a connection for each request, CONNECTIONS at a time, at most RATE a second (0: as fast as it goes).
// original: the same, but the request is not terminated, and the server closes first.
//
// Requests are numbers of every class and lines that are none, or always REQUEST (with `\r` and `\n`), each answered
// by one line. Whatever is unexpected ends it with status 1, and so do two minutes.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINES = 4096, MOST_DEPTH = 1024, LONGEST = 64, MOST_CONNECTIONS = 20000, DEADLINE = 120 };

static struct sockaddr_in server;
static char requests[(LINES + MOST_DEPTH) * LONGEST];
static size_t begins[LINES + MOST_DEPTH + 1];

static void die(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

// One line of the mix: 29 numbers of 1 to 30 digits in 32, one empty, one invalid, one with too many digits.
static size_t write_request(char *to, int index, const char *given) {
    if (given) return strlen(strcpy(to, given));
    size_t length = 0, digits = 1 + random() % 30;
    switch (index % 32) {
    case 7: return strlen(strcpy(to, "\n"));
    case 15: return strlen(strcpy(to, "12x4\n"));
    case 23: digits = 31;
    }
    if (random() % 2) to[length++] = '-';
    to[length++] = '1' + random() % 9;
    while (--digits) to[length++] = '0' + random() % 10;
    to[length++] = '\n';
    return length;
}

static void write_requests(const char *given) {
    for (int i = 0; i < LINES; i++) begins[i + 1] = begins[i] + write_request(requests + begins[i], i, given);
    for (int i = LINES; i < LINES + MOST_DEPTH; i++) {
        size_t length = begins[i - LINES + 1] - begins[i - LINES];
        memcpy(requests + begins[i], requests + begins[i - LINES], length);
        begins[i + 1] = begins[i] + length;
    }
}

static void unescape(char *text) {
    char *to = text;
    for (; *text; text++) {
        if (text[0] == '\\' && (text[1] == 'r' || text[1] == 'n')) {
            *to++ = *++text == 'r' ? '\r' : '\n';
        } else {
            *to++ = *text;
        }
    }
    *to = 0;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double cpu_used(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int open_connection(void) {
    int connection = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (connection < 0) die("socket");
    if (connect(connection, (struct sockaddr *)&server, sizeof server) < 0) die("connect");
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return connection;
}

static void ask(int connection, int first, int depth) {
    size_t length = begins[first + depth] - begins[first];
    if (send(connection, requests + begins[first], length, MSG_NOSIGNAL) != (ssize_t)length) die("send");
}

// How many lines have come.
static int replies(int connection) {
    static char bytes[256 * 1024];
    ssize_t length = recv(connection, bytes, sizeof bytes, 0);
    if (length == 0) fprintf(stderr, "the server closed a connection\n");
    if (length <= 0) die("recv");
    int lines = 0;
    for (ssize_t i = 0; i < length; i++) lines += bytes[i] == '\n';
    return lines;
}

static void one_reply(int connection) {
    while (!replies(connection)) {}
}

static void wait_for_input(int whole) {
    int byte;
    fflush(stdout);
    do byte = getchar();
    while (byte != EOF && (whole || byte != '\n'));
}

static void report(long answered, double began, double cpu_before) {
    printf("requests=%ld seconds=%.6f cpu_seconds=%.6f\n", answered, now() - began, cpu_used() - cpu_before);
    alarm(0);
}

static void kept(int connections, int depth, long count) {
    static int awaited[MOST_CONNECTIONS + 64], position[MOST_CONNECTIONS + 64], open[MOST_CONNECTIONS];
    int epoll = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        int connection = open[i] = open_connection();
        ask(connection, i % LINES, 1);
        one_reply(connection);
        fcntl(connection, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = connection};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event) < 0) die("epoll_ctl");
        position[connection] = i * 61 % LINES;
    }
    alarm(0);
    puts("ready");
    wait_for_input(0);
    alarm(DEADLINE);
    double began = now(), cpu_before = cpu_used();
    long asked = 0, answered = 0;
    for (int i = 0; i < connections && asked < count; i++, asked += depth) {
        ask(open[i], position[open[i]], awaited[open[i]] = depth);
    }
    while (answered < asked) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int connection = events[i].data.fd, lines = replies(connection);
            answered += lines;
            awaited[connection] -= lines;
            if (awaited[connection] < 0) {
                fprintf(stderr, "more replies than requests\n");
                exit(EXIT_FAILURE);
            }
            if (awaited[connection] || asked >= count) continue;
            position[connection] = (position[connection] + depth) % LINES;
            ask(connection, position[connection], awaited[connection] = depth);
            asked += depth;
        }
    }
    report(answered, began, cpu_before);
    wait_for_input(1);
}

// Waits for FIN. Returns whether there was a reply before it.
static int reply_and_end(int connection) {
    char bytes[LONGEST * 2];
    ssize_t total = 0, length;
    while ((length = recv(connection, bytes, sizeof bytes, 0)) > 0) total += length;
    if (length < 0) die("recv");
    return total > 0;
}

static void ask_unterminated(int connection, int index) {
    size_t length = begins[index + 1] - begins[index] - 1;
    // An empty request would be no request.
    const char *request = length ? requests + begins[index] : "7";
    if (!length) length = 1;
    if (send(connection, request, length, MSG_NOSIGNAL) != (ssize_t)length) die("send");
}

static void fresh(int at_a_time, long count, double rate, int is_original) {
    static int open[MOST_CONNECTIONS];
    puts("ready");
    wait_for_input(0);
    alarm(DEADLINE);
    double began = now(), cpu_before = cpu_used();
    for (long answered = 0; answered < count; answered += at_a_time) {
        double early = rate > 0 ? began + answered / rate - now() : 0;
        if (early > 0) usleep(early * 1e6);
        for (int i = 0; i < at_a_time; i++) {
            int request = (answered + i) % LINES;
            open[i] = open_connection();
            is_original ? ask_unterminated(open[i], request) : ask(open[i], request, 1);
        }
        for (int i = 0; i < at_a_time; i++) {
            if (!is_original) {
                one_reply(open[i]);
            } else if (!reply_and_end(open[i])) {
                fprintf(stderr, "no reply before the end\n");
                exit(EXIT_FAILURE);
            }
        }
        for (int i = 0; i < at_a_time; i++) close(open[i]);
    }
    report((count + at_a_time - 1) / at_a_time * at_a_time, began, cpu_before);
    wait_for_input(1);
}

int main(int argument_count, char **arguments) {
    int connections = 50, depth = 1, is_fresh = 0, is_original = 0, option;
    long count = 100000;
    double rate = 0;
    char *request = NULL;
    while ((option = getopt(argument_count, arguments, "m:c:d:n:r:q:")) != -1) {
        switch (option) {
        case 'm':
            is_original = !strcmp(optarg, "original");
            is_fresh = is_original || !strcmp(optarg, "fresh");
            break;
        case 'c': connections = atoi(optarg); break;
        case 'd': depth = atoi(optarg); break;
        case 'n': count = atol(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'q': unescape(request = optarg); break;
        default: return EXIT_FAILURE;
        }
    }
    int fits = connections >= 1 && connections <= MOST_CONNECTIONS && depth >= 1 && depth <= MOST_DEPTH &&
               (!request || strlen(request) < LONGEST);
    if (optind + 2 != argument_count || !fits ||
        inet_pton(AF_INET, arguments[optind], &server.sin_addr) != 1) {
        fprintf(stderr, "usage: epoll_load [-m kept|fresh|original] [-c CONNECTIONS] [-d DEPTH] [-n REQUESTS] [-r RATE]"
                        " [-q REQUEST] HOST PORT\n");
        return EXIT_FAILURE;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(arguments[optind + 1]));
    write_requests(request);
    alarm(DEADLINE);
    is_fresh ? fresh(connections, count, rate, is_original) : kept(connections, depth, count);
}
