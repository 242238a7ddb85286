#!/bin/bash
# checks.sh SUITE GROUP: the checks of one group, which is a script in this folder, and what they have in common. It is run as
# root in a throw-away machine that has this folder as /checks.
#
# A check is a function. What it prints is shown behind its name; the first command that fails, fails it.
set -euo pipefail
shopt -s inherit_errexit

readonly SERVER=127.0.0.1/8888 SERVER_HTTP=127.0.0.1/9888 CLIENT_HTTP=127.0.0.1/9889
readonly PORTS=("$SERVER" "$SERVER_HTTP" "$CLIENT_HTTP")
readonly INSTALL='dpkg --force-confdef --force-confold --install'
readonly ASKING=/run/asking

fail() {
    echo "$*" >&2
    return 1
}

# same EXPECTED FOUND [WHAT]
same() { [[ $2 == "$1" ]] || fail "${3:-found}: $2, expected: $1"; }

refuses() { if "$@" 2>/dev/null; then fail "this succeeds: $*"; fi; }

# eventually WHAT CONDITION: waits for what gives no other sign than being so.
eventually() {
    local end=$((SECONDS + 60))
    until eval "$2" 2>/dev/null; do
        ((SECONDS < end)) || fail "not within a minute: $1"
        sleep 0.05
    done
}

# constantly WHAT CONDITION: watches for three seconds what must not change.
constantly() {
    local end=$((SECONDS + 4))
    while ((SECONDS < end)); do
        eval "$2" || fail "not so any more: $1"
        sleep 0.05
    done
}

property() { systemctl show --value --property="$2" "$1"; }
active() { [[ $(property "$1" ActiveState) == active ]]; }
both_active() {
    eventually 'servidor is active' 'active servidor'
    eventually 'cliente is active' 'active cliente'
}
# How many sockets systemd keeps for a daemon.
stored() { property "$1" NFileDescriptorStore; }
status_line() { systemctl status --no-pager --lines=0 "$1" | sed -n 's/^ *Status: "\(.*\)"$/\1/p'; }

# connects ADDRESS: within two seconds, since a filter drops packets without an answer.
connects() { timeout 2 bash -c ': <>"/dev/tcp/$0"' "$1" 2>/dev/null; }
all_connect() { for port in "${PORTS[@]}"; do connects "$port" || return 1; done; }
none_connects() { for port in "${PORTS[@]}"; do if connects "$port"; then return 1; fi; done; }

# ask ADDRESS NUMBER: on a new connection; the reply is in $reply.
ask() {
    reply=
    { printf '%s\n' "$2" >&3 && IFS= read -r -t 20 reply <&3; } 3<>"/dev/tcp/$1"
}
replies() {
    ask "$1" "$2" || fail "$1 does not reply to $2"
    same "$3" "$reply" "the reply to $2"
}

# http ADDRESS PATH
http() {
    { printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$2" "${1/\//:}" >&3 && cat <&3; } 3<>"/dev/tcp/$1"
}
# metric ADDRESS SERIES: the sum of all series that begin so.
metric() {
    http "$1" /metrics | awk -v series="$2" '
        index($0, series) == 1 { sum += $NF; found = 1 }
        END { if (!found) exit 1; printf "%.0f\n", sum }'
}
rounds_begun() { metric "$CLIENT_HTTP" cliente_rounds_total; }
rounds_failed() { metric "$CLIENT_HTTP" cliente_round_failures_total; }
no_round_failed() { same 0 "$(rounds_failed)" 'rounds that failed'; }

# entries DAEMON [JOURNALCTL-ARGUMENT]...: its log lines. The check of its settings logs under the same name, but plain text.
entries() {
    journalctl --sync
    journalctl --unit="$1" --output=cat --all "${@:2}" SYSLOG_IDENTIFIER="$1" | { grep '^{' || true; }
}
# has_logged DAEMON MESSAGE: since its last start.
has_logged() {
    entries "$1" "_SYSTEMD_INVOCATION_ID=$(property "$1" InvocationID)" |
        grep --fixed-strings "\"message\":\"$2\"" >/dev/null
}
# journal_has UNIT TEXT
journal_has() {
    journalctl --sync
    journalctl --unit="$1" | grep --fixed-strings "$2" >/dev/null
}

# drop_in UNIT LINE...: in its section [Service], until `undo`.
drop_in() {
    mkdir -p "/etc/systemd/system/$1.d"
    printf '%s\n' '[Service]' "${@:2}" >"/etc/systemd/system/$1.d/check.conf"
    systemctl daemon-reload
}
# edit DAEMON [LINE]...: its settings as shipped, and these lines, until `undo`.
edit() {
    local file=/etc/$1/$1.toml
    [[ -e $file.shipped ]] || cp "$file" "$file.shipped"
    { cat "$file.shipped" && printf '%s\n' '' "${@:2}"; } >"$file"
}
undo() {
    local file
    rm -rf /etc/systemd/system/*.d /etc/systemd/system/*.socket
    for file in /etc/*/*.shipped; do
        if [[ -e $file ]]; then mv "$file" "${file%.shipped}"; fi
    done
    systemctl daemon-reload
    systemctl stop 'servidor*' 'cliente*'
    systemctl reset-failed
    systemctl start servidor cliente
}

# ask_often COUNT [tolerant]: so many clients ask without a pause, until `stop_asking`; a tolerant one may have no reply, and
# pauses for 10 ms.
ask_often() {
    local client
    rm -rf "$ASKING"
    mkdir "$ASKING"
    echo "$1" >"$ASKING/clients"
    for ((client = 0; client < $1; client++)); do asker "$client" "${2:-}" >/dev/null 2>&1 & done
}
asker() {
    local count=0 now last=${EPOCHREALTIME/./} longest=0
    trap '' PIPE
    trap - ERR
    set +e
    until [[ -e $ASKING/stop ]]; do
        if ask "$SERVER" 7 && [[ $reply == ÍMPAR ]]; then
            now=${EPOCHREALTIME/./}
            ((longest = now - last > longest ? now - last : longest, last = now))
        elif [[ ! $2 ]]; then
            echo "a question has the reply '$reply'" >>"$ASKING/failed"
        fi
        ((++count))
        if [[ $2 ]]; then sleep 0.01; fi
    done
    now=${EPOCHREALTIME/./}
    echo $((now - last > longest ? now - last : longest)) >"$ASKING/longest"
    echo $count >"$ASKING/count.$1"
}
# Prints how many questions were asked.
stop_asking() {
    touch "$ASKING/stop"
    eventually 'all clients have ended' '(($(find $ASKING -name "count.*" -size +0 | wc --lines) == $(<$ASKING/clients)))'
    if [[ -e $ASKING/failed ]]; then fail "$(sort "$ASKING/failed" | uniq --count)"; fi
    awk '{ sum += $1 } END { print sum }' "$ASKING"/count.*
}

# listen ADDRESS:PORT...: holds ports until `stop_listening`, and accepts nobody.
listen() {
    perl -MIO::Socket::INET -e '
        my @all = map { IO::Socket::INET->new(LocalAddr => $_, Listen => 64, ReuseAddr => 1) or die "$_: $@" } @ARGV;
        sleep' "$@" >/dev/null &
    listener=$!
    local last=${!#}
    eventually "$* are taken" "connects ${last/://}"
}
stop_listening() {
    kill "$listener"
    wait "$listener" || true
}

# A check of most groups.
installed() {
    local daemon
    dpkg --install /checks/servidor.deb /checks/cliente.deb >/dev/null
    both_active
    for daemon in servidor cliente; do same enabled "$(systemctl is-enabled $daemon)"; done
    same '' "$(dpkg --verify servidor cliente)"
    # What is enabled is started by the next boot.
    systemctl list-dependencies --plain multi-user.target | grep servidor.service >/dev/null
    # shellcheck disable=SC2016
    dpkg-query --show --showformat '${Package} ${Version}, ${Installed-Size} kB\n' servidor cliente
}

quick_client() {
    drop_in cliente.service Environment=CLIENTE_INTERVAL=10ms
    systemctl restart cliente
}

# check NAME FUNCTION
failed=0
check() {
    local begun=${EPOCHREALTIME/./} printed status time word=ok
    set +e
    printed=$(
        set -eE
        trap 'echo "${BASH_SOURCE[0]##*/}, line $LINENO: $BASH_COMMAND" >&2' ERR
        "$2" 2>/run/errors </dev/null
    )
    status=$?
    set -e
    time=$(((${EPOCHREALTIME/./} - begun) / 100000))
    if ((status)); then
        word=FAIL printed+=$'\n'$(cat /run/errors)
        failed=$((failed + 1))
        # What it left behind must not fail the next one.
        touch "$ASKING/stop" 2>/dev/null || true
        pkill perl || true
        undo || true
    fi
    if [[ $word == ok ]]; then printed=${printed//$'\n'/; }; fi
    printf '%-4s %4d.%d s  %-8s  %s%s\n' "$word" $((time / 10)) $((time % 10)) "$suite" "$1" "${printed:+: $printed}"
}

suite=$1
# shellcheck disable=SC1090
source "/checks/${2// /-}.sh"
checks
((failed == 0))
