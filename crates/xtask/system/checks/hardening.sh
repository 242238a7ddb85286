#!/bin/bash
# What the units forbid, by the score of systemd and by attempts from inside.

checks() {
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
