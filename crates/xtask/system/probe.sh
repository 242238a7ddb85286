#!/bin/bash
# Tries what the units forbid, and prints one line per directive: "DIRECTIVE allowed" or "DIRECTIVE denied".
#
# It is run twice: without any restriction, where all must be allowed, or the attempt itself is broken; and with the properties
# of a unit, where all must be denied. `checks/hardening.sh` makes what it looks for: files called `mark`, and /run/machine.

try() {
    local directive=$1 verdict=denied
    shift
    if "$@" >/dev/null 2>&1; then verdict=allowed; fi
    echo "$directive $verdict"
}

# True if this namespace is the machine's own.
shares() { [[ $(readlink "/proc/self/ns/$1") == "$(</run/machine/$1)" ]]; }

# Calls the kernel by number, for what no program of a small Debian asks; true unless that is refused: with EPERM by a filter,
# with EACCES by the kernel's own rule against memory that is written and executed.
kernel() {
    perl -e 'my $result = syscall(shift, map { $_ =~ /^-?\d+$/ ? $_ + 0 : $_ } @ARGV); exit($result == -1 && ($! == 1 || $! == 13))' "$@"
}

case $(uname --machine) in
aarch64) mmap=222 adjtimex=171 ;;
*) mmap=9 adjtimex=159 ;;
esac

# Who it is.
try DynamicUser test "$(id --user)" -lt 61184
try PrivateUsers grep --quiet '^ *0 *0 *4294967295$' /proc/self/uid_map
touch /tmp/umask
try UMask test "$(stat --format %a /tmp/umask)" != 600
try CapabilityBoundingSet chown 1 /tmp/umask
try SecureBits grep --quiet 'Securebits: \[none\]' <(setpriv --dump)
# The kernel ignores the set-user-ID bit of a program that is run without new privileges.
try NoNewPrivileges test "$(/usr/local/bin/root-id --user)" = 0
try RestrictSUIDSGID chmod u+s /tmp/umask
# Looked for from outside, after the end.
ipcmk --shmem 64 >/dev/null

# What it sees.
try ProtectSystem touch /usr/mark /etc/mark /var/mark
try ProtectHome test -e /root/mark
try PrivateTmp test -e /tmp/mark
try PrivateMounts shares mnt
try PrivateDevices head --bytes 1 /dev/mark
try DevicePolicy mknod /tmp/device c 1 3
try ProtectProc test -e /proc/1/status
try ProcSubset test -e /proc/meminfo
try ProtectKernelTunables cp --no-preserve=all /run/machine/ttl /proc/sys/net/ipv4/ip_default_ttl
try ProtectKernelModules test -e /usr/lib/modules/mark
try ProtectKernelLogs dmesg --syslog
try ProtectControlGroups mkdir "$(</run/machine/control-groups)/probe"
try ProtectClock kernel $adjtimex "$(printf '%0256d' 0 | tr 0 ' ')"
try ProtectHostname hostname "$(hostname)"
try NoExecPaths /opt/mark
try ExecPaths /opt/mark

# Whom it can talk to.
try RestrictAddressFamilies perl -MSocket -e 'exit !socket(my $socket, 16, SOCK_RAW, 0)'
try IPAddressDeny timeout 2 bash -c 'exec 3<>/dev/tcp/192.0.2.1/7'
try IPAddressAllow timeout 2 bash -c 'exec 3<>/dev/tcp/192.0.2.1/7'

# What it may ask of the kernel.
try RestrictNamespaces unshare --user true
try RestrictRealtime chrt --deadline --sched-runtime 100000 --sched-deadline 1000000 --sched-period 1000000 0 true
try LockPersonality setarch --addr-no-randomize true
try MemoryDenyWriteExecute kernel $mmap 0 4096 7 34 -1 0
try SystemCallArchitectures /usr/local/bin/foreign
try SystemCallFilter mount -t tmpfs none /tmp
try SystemCallErrorNumber mount -t tmpfs none /tmp

# How much it can take.
try LimitNOFILE test "$(ulimit -H -n)" -gt 16384
try LimitCORE test "$(ulimit -H -c)" != 0
try LimitMEMLOCK test "$(ulimit -H -l)" != 0
try TasksMax perl -e 'for (1 .. 600) { my $child = fork // exit 1; if (!$child) { sleep 60; exit } push @all, $child } END { kill 9, @all }'
try MemoryMax perl -e 'my $memory = "x" x (300 << 20)'
