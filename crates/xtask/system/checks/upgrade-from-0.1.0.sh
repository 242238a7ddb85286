#!/bin/bash
# The upgrade from 0.1.0, whose sockets systemd bound, and the way back.

checks() {
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
