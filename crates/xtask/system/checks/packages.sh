#!/bin/bash
# The life of the packages. What a check leaves behind, the next one finds.

checks() {
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
