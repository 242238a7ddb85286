#!/bin/bash
# checks.sh SUITE GROUP: the checks of one group, run as root in a throw-away machine that has this folder as /checks.
#
# A check is a function. What it prints is shown behind its name; the first command that fails, fails it. Except where its
# group says otherwise, it leaves the machine as it found it.
set -euo pipefail
shopt -s inherit_errexit

readonly SERVER=127.0.0.1/8888 SERVER_HTTP=127.0.0.1/9888 CLIENT_HTTP=127.0.0.1/9889
readonly PORTS=("$SERVER" "$SERVER_HTTP" "$CLIENT_HTTP")
readonly INSTALL='dpkg --force-confdef --force-confold --install'
readonly ASKING=/run/asking

# --- Helpers ---

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

# check NAME FUNCTION
failed=0
check() {
    local begun=${EPOCHREALTIME/./} printed status time word=ok
    set +e
    printed=$(
        set -eE
        trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
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

# --- Running daemons ---

running_daemons() {
    check 'dpkg -i installs, enables and starts both' installed
    check 'the journal has rounds in JSON, with priorities' journal_rounds
    check 'only warnings are shown as warnings' journal_warnings
    check 'both show their metrics' show_metrics
    check 'systemctl status shows the counts' show_status
    check 'a stop ends in success, and closes the sockets' stop
    check 'a stop may take longer than the unit allows' patient_stop
    check 'a stopped server stays stopped while clients try to connect' stays_stopped
    check 'a reload applies the file, and a wrong file changes nothing' reload
    check 'a killed daemon comes back' killed
    check 'a hanging daemon is caught by the watchdog' hanging
    check 'a wrong setting ends in 78, once' wrong_setting
    check 'ports that are taken are tried until they are free' taken_ports
    check '50 restarts in a row fail no round' fifty_restarts
    check 'ten kills fail at most the round under way' ten_kills
    check '25 restarts under load fail nobody' loaded_restarts
    check "3,072 connections stay within the unit's limits" many_connections
    check 'servidor runs outside its unit too' by_hand
    check "the operator's sockets override the settings" operator_sockets
    check 'the drop-ins of the README do what it says' drop_ins
}

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

journal_rounds() {
    local lines
    eventually 'a round is completed' 'has_logged cliente "round completed"'
    journalctl --sync
    lines=$(journalctl --unit=servidor --unit=cliente --output=json --all | grep --fixed-strings '"MESSAGE":"{')
    same '' "$(awk '
        /"PRIORITY":"3"/ && /\\"level\\":\\"ERROR/ || /"PRIORITY":"4"/ && /\\"level\\":\\"WARN/ { next }
        !(/"PRIORITY":"6"/ && /\\"level\\":\\"INFO/)' <<<"$lines")" 'entries with another priority than their level'
    echo "$(wc --lines <<<"$lines") entries"
}

journal_warnings() {
    local warnings
    drop_in cliente.service Environment=CLIENTE_INTERVAL=100ms
    systemctl restart cliente
    systemctl stop servidor
    eventually 'a round fails' 'has_logged cliente "round failed"'
    warnings=$(entries cliente --priority=warning)
    [[ $warnings ]]
    same '' "$(grep --invert-match '"level":"WARN"' <<<"$warnings" || true)" 'other lines'
    undo
    echo "$(wc --lines <<<"$warnings") warnings"
}

show_metrics() {
    local daemon address memory
    for daemon in servidor cliente; do
        address=$SERVER_HTTP
        if [[ $daemon == cliente ]]; then address=$CLIENT_HTTP; fi
        same 1 "$(metric "$address" "${daemon}_config_last_reload_successful ")"
        (($(metric "$address" process_start_time_seconds) > 0))
        memory=$(metric "$address" process_resident_memory_bytes)
        echo "$daemon in $((memory / 1000000)) MB"
    done
}

# The status follows the counts: it must change with the client's rounds.
show_status() {
    local server client
    drop_in cliente.service Environment=CLIENTE_INTERVAL=100ms
    systemctl restart servidor cliente
    both_active
    server=$(status_line servidor) client=$(status_line cliente)
    eventually 'both status lines follow the counts' \
        "[[ \$(status_line servidor) != '$server' && \$(status_line cliente) != '$client' ]]"
    server=$(status_line servidor) client=$(status_line cliente)
    [[ $server == *' of 5 connections, '* && $client == *'0.0 % loss'*'last: 127.0.0.1:8888 in '* ]] ||
        fail "$server | $client"
    undo
    echo "$server | $client"
}

stop() {
    local daemon
    systemctl stop servidor cliente
    for daemon in servidor cliente; do
        same success "$(property $daemon Result)"
        same 0 "$(property $daemon ExecMainStatus)"
        eventually "$daemon logs its end" "has_logged $daemon stopped"
    done
    eventually 'the sockets are closed' none_connects
    systemctl start servidor cliente
    all_connect
    same '2 1' "$(stored servidor) $(stored cliente)" 'stored sockets'
}

# A drain may last longer than the unit's time-out: the daemon asks for more.
patient_stop() {
    local begun took
    listen 127.0.0.1:7
    drop_in cliente.service TimeoutStopSec=1
    edit cliente 'target = ["127.0.0.1:7"]' 'interval = "50ms"' 'reply-timeout = "4s"'
    systemctl restart cliente
    eventually 'a round is under way' '(($(rounds_begun) > 0))'
    begun=${EPOCHREALTIME/./}
    systemctl stop cliente
    took=$(((${EPOCHREALTIME/./} - begun) / 1000))
    ((took > 1000)) || fail "it did not wait for the round: $took ms"
    same success "$(property cliente Result)"
    stop_listening
    undo
    echo "$took ms"
}

stays_stopped() {
    ask_often 1 tolerant
    systemctl stop servidor
    constantly 'it stays stopped' '[[ $(property servidor ActiveState) == inactive ]] && ! connects $SERVER'
    stop_asking
    undo
}

reload() {
    local process
    process=$(property servidor MainPID)
    limit() { metric "$SERVER_HTTP" servidor_connections_limit; }
    successful() { metric "$SERVER_HTTP" servidor_config_last_reload_successful; }

    edit servidor 'max-connections = 7'
    systemctl reload servidor
    eventually 'the new limit is in force' '[[ $(limit) == 7 ]]'

    edit servidor 'max-connections = 0'
    refuses systemctl reload servidor
    active servidor
    eventually 'the failed reload is in the status line' \
        '[[ $(status_line servidor) == "last reload refused, see the log; "* ]]'
    eventually 'the failed reload is in the metrics' '[[ $(successful) == 0 ]]'
    same 7 "$(limit)"
    eventually 'the failed reload is in the journal' 'entries servidor --priority=err | tail --lines=1 |
        grep "\"message\":\"reload failed\".*max-connections = 0" >/dev/null'

    edit servidor
    systemctl reload servidor
    eventually 'the shipped file is back in force' '[[ "$(successful) $(limit)" == "1 5" ]]'
    eventually 'the status line is as before' '[[ $(status_line servidor) == "0 of 5"* ]]'
    same "$process" "$(property servidor MainPID)" 'the process after a reload'

    edit cliente 'interval = "50ms"'
    systemctl reload cliente
    eventually 'the new interval is in force' '(($(rounds_begun) > 20))'
    undo
}

killed() { comes_back_after KILL signal; }
hanging() { comes_back_after STOP watchdog; }

# comes_back_after SIGNAL RESULT
comes_back_after() {
    local daemon processes
    processes="$(property servidor MainPID) $(property cliente MainPID)"
    systemctl kill --kill-whom=main --signal="$1" servidor cliente
    for daemon in servidor cliente; do
        eventually "$daemon comes back by itself" \
            "active $daemon && [[ ' 0 $processes ' != *\" \$(property $daemon MainPID) \"* ]]"
        eventually "the journal has the result $2" "journal_has $daemon \"Failed with result '$2'\""
    done
    replies "$SERVER" 10 PAR
    undo
}

# A crash is tried again, a wrong setting is not; nor are the sockets kept open for nobody.
wrong_setting() {
    local daemon
    edit servidor 'no-such-setting = 1'
    edit cliente 'no-such-setting = 1'
    ask_often 1 tolerant
    refuses systemctl restart servidor
    refuses systemctl restart cliente
    constantly 'neither is started again' \
        '[[ $(property servidor ActiveState) == failed && $(property cliente ActiveState) == failed ]]'
    for daemon in servidor cliente; do
        same '78 0' "$(property $daemon ExecMainStatus) $(property $daemon NRestarts)" "status and restarts of $daemon"
    done
    none_connects
    stop_asking >/dev/null
    undo
}

# Ports that others hold are tried again and again; the delays of the shipped units are made shorter, to try more often.
taken_ports() {
    local daemon
    systemctl stop servidor cliente
    listen 127.0.0.1:8888 127.0.0.1:9889
    for daemon in servidor cliente; do drop_in $daemon.service RestartSec=50ms RestartSteps=0; done
    systemctl start --no-block servidor cliente
    for daemon in servidor cliente; do
        eventually "$daemon is tried many times" "((\$(property $daemon NRestarts) > 65))"
        eventually 'the journal has the status' "journal_has $daemon status=69"
    done
    stop_listening
    both_active
    echo "after $(property servidor NRestarts) and $(property cliente NRestarts) tries"
    undo
}

quick_client() {
    drop_in cliente.service Environment=CLIENTE_INTERVAL=10ms
    systemctl restart cliente
}

# restarts COUNT: the socket stays, connections queue in it, and no round fails.
restarts() {
    local count begun
    quick_client
    for ((count = 0; count < $1; count++)); do systemctl restart servidor; done
    begun=$(rounds_begun)
    ((begun > 10)) || fail "the client made only $begun rounds"
    no_round_failed
    same 0 "$(property cliente NRestarts)"
    echo "$begun rounds"
}

# The client asks as fast as it is answered.
fifty_restarts() {
    restarts 50
    undo
}

# With others beside the client, so that most wait in the queue.
loaded_restarts() {
    ask_often 20
    restarts 25
    echo "$(stop_asking) questions of 20 clients at the same time"
    undo
}

# The crash of a server costs the round that it was answering; later ones queue.
ten_kills() {
    local count process begun failures lost=0
    quick_client
    for ((count = 0; count < 10; count++)); do
        process=$(property servidor MainPID)
        systemctl kill --kill-whom=main --signal=KILL servidor
        eventually 'it comes back' "active servidor && [[ \$(property servidor MainPID) != $process ]]"
        begun=$(rounds_begun)
        eventually 'rounds go on' "((\$(rounds_begun) > $begun + 1))"
        failures=$(rounds_failed)
        ((failures - lost <= 1)) || fail "$((failures - lost)) rounds failed after one kill"
        lost=$failures
    done
    echo "$lost of $(rounds_begun) rounds failed"
    undo
}

many_connections() {
    local count connection reply memory tasks
    drop_in servidor.service Environment=SERVIDOR_MAX_CONNECTIONS=3072
    systemctl stop cliente
    systemctl restart servidor
    # This end of each connection takes a descriptor too.
    ulimit -S -n "$(ulimit -H -n)"
    for ((count = 0; count < 3072; count++)); do
        exec {connection}<>"/dev/tcp/$SERVER"
        printf '2\n' >&"$connection"
        read -r reply <&"$connection"
        same PAR "$reply"
    done
    same 3072 "$(metric "$SERVER_HTTP" servidor_connections_active)" 'open connections'
    memory=$(property servidor MemoryCurrent) tasks=$(property servidor TasksCurrent)
    ((memory < $(property servidor MemoryMax) && tasks < $(property servidor TasksMax))) ||
        fail "$memory bytes, $tasks tasks"
    same 0 "$(property servidor NRestarts)"
    echo "$((memory >> 20)) of $(($(property servidor MemoryMax) >> 20)) MiB, $tasks of $(property servidor TasksMax) tasks"
    undo
}

# Without the unit's sandbox and store: it binds what its settings say.
by_hand() {
    systemctl stop cliente servidor
    systemd-run --quiet --unit=by-hand --property=Type=notify --property=DynamicUser=yes \
        servidor --config /etc/servidor/servidor.toml
    replies "$SERVER" 11 ÍMPAR
    systemctl stop by-hand
    undo
}

# The unit names its socket, then leaves that to systemd. These sockets are not stored.
operator_sockets() {
    local name count
    for name in FileDescriptorName=servidor ''; do
        printf '%s\n' '[Socket]' ListenStream=127.0.0.1:7777 "$name" >/etc/systemd/system/servidor.socket
        systemctl daemon-reload
        systemctl stop servidor
        systemctl start servidor.socket servidor
        # At the second restart the daemon finds a socket that it has had before.
        for count in 1 2; do
            replies 127.0.0.1/7777 7 ÍMPAR
            refuses connects "$SERVER"
            same 1 "$(stored servidor)" "stored sockets at start $count"
            refuses has_logged servidor 'inherited socket of an unknown name'
            systemctl restart servidor
        done
        systemctl stop servidor servidor.socket
        undo
    done
}

# The files that the README shows, each under the heading of its case: see `system.rs`.
drop_ins() {
    # Two more addresses of this host stand for the network.
    ip address replace 192.0.2.1/24 dev lo
    ip address replace 192.0.2.10/24 dev lo

    shown 'Move the port'
    systemctl restart servidor cliente
    connects 127.0.0.1/7777
    refuses connects "$SERVER"
    eventually 'the journal says that the port was moved' 'entries servidor |
        grep "\"message\":\"stored socket closed\".*\"address\":\"127.0.0.1:8888\"" >/dev/null'
    rounds_succeed 127.0.0.1:7777 "$CLIENT_HTTP"
    undo

    refuses connects 192.0.2.10/8888
    refuses connects 192.0.2.10/9888
    shown 'Open to a network'
    start_anew
    replies 192.0.2.10/8888 3 ÍMPAR
    http 192.0.2.10/9888 /-/ready | grep '^HTTP/1.. 200' >/dev/null
    undo

    shown 'Open to a network'
    start_anew
    shown 'Ask another host'
    systemctl daemon-reload
    systemctl restart cliente
    rounds_succeed 192.0.2.10:8888 "$CLIENT_HTTP"
    undo

    shown 'More than one client'
    systemctl enable --quiet --now cliente@often
    rounds_succeed 127.0.0.1:8888 "$CLIENT_HTTP"
    rounds_succeed 127.0.0.1:8888 127.0.0.1/9890
    systemctl disable --quiet --now cliente@often
    rm /etc/cliente/often.toml
    undo
    echo "$(find /checks/readme -type f | wc --lines) files"
}

# shown CASE: the settings of a daemon get more lines; any other file is new.
shown() {
    local path
    cd "/checks/readme/$1"
    while read -r path; do
        case $path in
        etc/servidor/servidor.toml) edit servidor "$(<"$path")" ;;
        etc/cliente/cliente.toml) edit cliente "$(<"$path")" ;;
        *) install -D --mode=644 "$path" "/$path" ;;
        esac
    done < <(find . -type f -printf '%P\n')
}
# As the README says where the address filter has changed.
start_anew() {
    systemctl daemon-reload
    systemctl stop servidor cliente
    systemctl start servidor cliente
}
# rounds_succeed SERVER METRICS-ADDRESS
rounds_succeed() { eventually "a round with $1 succeeds" "[[ \$(metric $2 'cliente_up{server=\"$1\"}') == 1 ]]"; }

# --- Hardening ---

hardening() {
    check 'dpkg -i installs, enables and starts both' installed
    check 'the units are as tight as promised' scores
    check 'what the units forbid is forbidden' forbidden
    check 'only this host is let in, until a stop and a start' filter
}

# What directives of a service are about its life, and forbid nothing; RemoveIPC is looked at from outside; KeyringMode is
# systemd's default for services, and no program of a small Debian shows it.
readonly LIFE='Type NotifyAccess ExecStart ExecReload StandardOutput StandardError WatchdogSec TimeoutStartSec
    TimeoutStopSec Restart RestartSec RestartSteps RestartMaxDelaySec RestartPreventExitStatus SuccessExitStatus
    FileDescriptorStoreMax Environment RemoveIPC KeyringMode'

scores() {
    local daemon found report
    # systemd 252 does not know these two, and says so.
    found=$(systemd-analyze verify --man=no cliente.service cliente@name.service servidor.service 2>&1 |
        { grep --invert-match --extended-regexp "'Restart(Steps|MaxDelaySec)'" || true; })
    same '' "$found" 'what systemd says about the units'
    for daemon in servidor cliente; do
        # Of ten, in tenths.
        report=$(systemd-analyze security --offline=true --no-pager --threshold=9 /usr/lib/systemd/system/$daemon.service)
        tail --lines=1 <<<"$report" | sed "s/.*: \([0-9.]*\) .*/$daemon \1/"
    done
}

forbidden() {
    local daemon free confined directive directives shared
    lay_out
    listen 192.0.2.1:7
    free=$(systemd-run --quiet --wait --collect --pipe bash /checks/probe.sh)
    same '' "$(grep denied <<<"$free" || true)" 'denied without any restriction'
    shared=$(segments)
    for daemon in servidor cliente; do
        confined=$(confined $daemon)
        directives=$(restrictions $daemon)
        for directive in $directives; do
            same denied "$(sed -n "s/^$directive //p" <<<"$confined")" "$directive in $daemon.service"
        done
        same "$shared" "$(segments)" "shared memory, with RemoveIPC in $daemon.service"
        echo "$daemon $(wc --words <<<"$directives") directives"
    done
    stop_listening
}

segments() { ipcs --shmems | grep --count ^0x; }

# The directives of a unit's service that forbid something.
restrictions() {
    sed -n '/^\[Service\]/,/^\[/ s/^\([A-Za-z]*\)=.*/\1/p' "/usr/lib/systemd/system/$1.service" | sort --unique |
        grep --invert-match --line-regexp --fixed-strings "$(tr -s ' ' '\n' <<<"$LIFE")"
}

# What the probe looks for: each is accessible unless a directive forbids it.
lay_out() {
    local kind
    foreign_program >/usr/local/bin/foreign
    chmod 755 /usr/local/bin/foreign
    install -m 755 /checks/probe.sh /usr/local/bin/probe
    install -m 4755 /usr/bin/id /usr/local/bin/root-id
    install /usr/bin/true /opt/mark
    mkdir -p /usr/lib/modules /run/machine
    touch /root/mark /tmp/mark /usr/lib/modules/mark
    mknod -m 666 /dev/mark c 1 5
    for kind in mnt net; do readlink /proc/1/ns/$kind >/run/machine/$kind; done
    findmnt --noheadings --first-only --types cgroup2 --output TARGET >/run/machine/control-groups
    cat /proc/sys/net/ipv4/ip_default_ttl >/run/machine/ttl
    ip address replace 192.0.2.1/24 dev lo
}

# A 32-bit program that exits with 0: the smallest program of another architecture that this processor runs.
foreign_program() {
    printf '\x7fELF\1\1\1\0\0\0\0\0\0\0\0\0\2\0\3\0\1\0\0\0' # An executable, for the 386.
    printf '\x54\x80\x04\x08\x34\0\0\0\0\0\0\0\0\0\0\0'      # It starts right after the headers.
    printf '\x34\0\x20\0\1\0\0\0\0\0\0\0'                   # One program header: all 91 bytes are loaded.
    printf '\1\0\0\0\0\0\0\0\0\x80\x04\x08\0\x80\x04\x08\x5b\0\0\0\x5b\0\0\0\5\0\0\0\0\x10\0\0'
    printf '\x31\xdb\x8d\x43\x01\xcd\x80' # xor ebx, ebx; lea eax, [ebx + 1]; int 0x80
}

# What the probe prints under the properties of a shipped unit.
confined() {
    local unit=/run/systemd/system/probe-$1.service
    mkdir -p "$unit.d"
    grep --invert-match ^Wants= "/usr/lib/systemd/system/$1.service" >"$unit"
    # The shell and its programs need to be run; only what is in /opt stays forbidden.
    cat >"$unit.d/probe.conf" <<-'END'
	[Service]
	Type=oneshot
	WatchdogSec=0
	Restart=no
	ExecStart=
	ExecStart=/usr/local/bin/probe
	StandardOutput=journal
	ExecPaths=/usr/bin /usr/sbin /usr/local/bin
	OOMPolicy=continue
	TimeoutStartSec=60
	END
    systemctl daemon-reload
    systemctl start "probe-$1"
    journalctl --sync
    journalctl --unit="probe-$1" --output=cat _TRANSPORT=stdout
}

# Wherever it listens, only this host gets through. With systemd 257 a stored socket keeps the filter of the start that bound
# it; 252 applies a new one at a restart.
filter() {
    local networks='["127.0.0.0/8", "192.0.2.0/24"]' after_restart=refused
    ip address replace 192.0.2.1/24 dev lo
    edit servidor 'listen = ["0.0.0.0:8888"]' "allow = $networks" \
        'metrics-listen = "0.0.0.0:9888"' "metrics-allow = $networks"
    systemctl restart servidor
    connects "$SERVER"
    connects "$SERVER_HTTP"
    refuses connects 192.0.2.1/8888
    refuses connects 192.0.2.1/9888

    drop_in servidor.service IPAddressAllow=192.0.2.0/24
    systemctl restart servidor
    if connects 192.0.2.1/8888; then after_restart='let in'; fi
    systemctl stop servidor
    systemctl start servidor
    connects 192.0.2.1/8888
    connects 192.0.2.1/9888
    undo
    echo "the network after a restart: $after_restart"
}

# --- The upgrade from 0.1.0, whose sockets systemd bound, and the way back ---

upgrade_from_0.1.0() {
    check 'dpkg -i installs 0.1.0, with its .socket units' old_installed
    check 'an upgrade closes its sockets, and binds them within a second' old_upgraded
    check 'a downgrade gives them back to systemd' old_downgraded
}

old_sockets() { active servidor.socket && active servidor-metrics.socket; }

old_installed() {
    $INSTALL /checks/servidor-0.1.0.deb /checks/cliente-0.1.0.deb >/dev/null
    both_active
    old_sockets
    dpkg-query --show servidor
}

old_upgraded() {
    local longest
    quick_client
    ask_often 1 tolerant
    # Another package's script may come first: its reload of systemd must not leave the sockets open for good.
    dpkg --unpack --force-confdef --force-confold /checks/servidor.deb >/dev/null
    systemctl daemon-reload
    dpkg --configure servidor >/dev/null
    stop_asking >/dev/null
    $INSTALL /checks/cliente.deb >/dev/null
    both_active
    refuses active servidor.socket
    refuses active servidor-metrics.socket
    same 2 "$(stored servidor)" 'stored sockets'
    refuses journal_has servidor status=69
    longest=$(($(<"$ASKING/longest") / 1000))
    ((longest <= 1000)) || fail "no answers for $longest ms"
    echo "no answers for $longest ms"
}

old_downgraded() {
    $INSTALL /checks/servidor-0.1.0.deb >/dev/null
    both_active
    old_sockets
    connects "$SERVER"
    connects "$SERVER_HTTP"
}

# --- The life of the packages; what a check leaves behind, the next one finds ---

packages() {
    check 'what is there before' before
    check 'dpkg -i installs, enables and starts both' installed
    check 'an upgrade and a downgrade keep the changed file, and fail no round' upgraded
    check 'a removal stops both, and leaves their settings' removed
    check 'a purge leaves nothing' purged
}

# All that is on the disk, but for what dpkg and the journal keep about everything they do.
listing() {
    find / -xdev -path /var/lib/dpkg -prune -o -path /var/log -prune -o -path /checks -prune -o -print | sort
}

before() {
    listing >/checks/listing
    wc --lines </checks/listing
}

upgraded() {
    local daemon up down instance
    quick_client
    edit servidor 'max-connections = 6'
    rm /etc/servidor/servidor.toml.shipped
    for daemon in servidor cliente; do next_version $daemon; done
    ask_often 20
    replace servidor servidor-next.deb
    up=$(stop_asking)
    no_round_failed
    same 'max-connections = 6' "$(tail --lines=1 /etc/servidor/servidor.toml)"
    same '# Of the next version.' "$(tail --lines=1 /etc/servidor/servidor.toml.dpkg-dist)"

    ask_often 20
    replace servidor servidor.deb
    down=$(stop_asking)
    no_round_failed
    same 2 "$(stored servidor)" 'stored sockets'

    cp /etc/cliente/cliente.toml /etc/cliente/other.toml
    echo 'metrics-listen = "off"' >>/etc/cliente/other.toml
    systemctl start cliente@other
    instance=$(property cliente@other MainPID)
    replace cliente cliente-next.deb
    [[ $(property cliente@other MainPID) != "$instance" ]] || fail 'the instance runs the old version'
    same '# Of the next version.' "$(tail --lines=1 /etc/cliente/cliente.toml)"
    replace servidor servidor-next.deb
    both_active
    echo "$up and $down questions answered meanwhile"
}

# replace DAEMON PACKAGE: installs another version, whose process must then be another.
replace() {
    local process
    process=$(property "$1" MainPID)
    # Settings are kept and replaced as dpkg does by default; without a terminal it needs flags for that.
    $INSTALL "/checks/$2" >/dev/null
    eventually "$1 is active" "active $1"
    [[ $(property "$1" MainPID) != "$process" ]] || fail "the old $1 still runs"
}

# next_version DAEMON: makes its package, whose settings file has another line.
next_version() (
    rm -rf /tmp/next
    dpkg-deb --raw-extract "/checks/$1.deb" /tmp/next
    cd /tmp/next
    echo '# Of the next version.' >>"etc/$1/$1.toml"
    sed -i 's/^Version: .*/&+next/' DEBIAN/control
    find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | xargs -0 md5sum >DEBIAN/md5sums
    dpkg-deb -Znone --root-owner-group --build /tmp/next "/checks/$1-next.deb" >/dev/null
    rm -rf /tmp/next
)

removed() {
    local unit
    dpkg --remove servidor cliente >/dev/null
    for unit in servidor.service cliente.service cliente@other.service; do refuses active $unit; done
    refuses ask "$SERVER" 1
    [[ -f /etc/servidor/servidor.toml && -f /etc/cliente/cliente.toml && ! -e /usr/bin/servidor ]]
    # Settings that were kept are found again.
    dpkg --install /checks/servidor-next.deb /checks/cliente-next.deb >/dev/null
    both_active
    same 'max-connections = 6' "$(tail --lines=1 /etc/servidor/servidor.toml)"
}

purged() {
    # The drop-in and the instance's settings are the administrator's.
    rm -r /etc/systemd/system/cliente.service.d /etc/cliente/other.toml
    systemctl daemon-reload
    dpkg --purge servidor cliente >/dev/null
    same '' "$(listing | diff /checks/listing - || true)" 'left by a purge'
    same '' "$(systemctl list-units --all --plain --no-legend 'servidor*' 'cliente*')" 'units left by a purge'
}

suite=$1
"${2// /_}"
((failed == 0))
