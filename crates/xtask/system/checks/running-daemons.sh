#!/bin/bash
# How the daemons start, stop, reload and fail, and what an operator sees. Each check leaves the machine as it found it.

checks() {
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
    # A busy machine disturbs a round now and then: then its time is not shown.
    eventually 'the client shows its last round' \
        "[[ \$(status_line cliente) == *'0.0 % loss'*'last: 127.0.0.1:8888 in '* ]]"
    server=$(status_line servidor) client=$(status_line cliente)
    [[ $server == *' of 5 connections, '* && $client == *'0.0 % loss'* ]] || fail "$server | $client"
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
