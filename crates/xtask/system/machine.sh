#!/bin/bash
# machine.sh run TREE SUITE GROUP FILES LOGS: boots a machine from TREE, and runs a group of checks on it. It has FILES as
# /checks; its console and, after a failure, its journal are left in LOGS.
#
# A machine is a systemd in new namespaces. TREE stays as it is: all writes go to a memory file system, which vanishes with the
# last process. When this process ends, however that is, the machine ends with it; only its control groups may be
# left, for the next run to remove.
set -euo pipefail

readonly PREFIX=servidor-system-

run() {
    local tree=$1 suite=$2 group=$3 files=$4 logs=$5 begun=${EPOCHREALTIME/./} up
    readonly NAME=$PREFIX$$-$suite
    for name in $(left_behind); do remove_groups "$name"; done
    setpriv --pdeathsig KILL bash "$0" outside "$tree" "$NAME" </dev/null >"$logs/console of $suite.log" 2>&1 &
    unshare=$!
    trap stop EXIT
    await_boot || {
        cat "$logs/console of $suite.log" >&2
        exit 1
    }
    cp -r "$files" "/proc/$leader/root/checks"
    up=$(((${EPOCHREALTIME/./} - begun) / 100000))
    echo "==> $suite, $group: $(enter systemctl --version | head --lines=1), up in $((up / 10)).$((up % 10)) s"
    enter bash /checks/checks.sh "$suite" "$group" || {
        enter journalctl --no-pager >"$logs/journal of $suite, $group.log"
        echo "     the journal is in $logs/journal of $suite, $group.log"
        exit 1
    }
}

# The machine's process 1, once it says that it is up.
await_boot() {
    local state=
    SECONDS=0
    while ((SECONDS < 60)); do
        leader=$(cat "/proc/$unshare/task/$unshare/children" 2>/dev/null) || { echo 'the machine did not boot' >&2; return 1; }
        leader=${leader% }
        if [[ $leader ]]; then state=$(enter systemctl is-system-running 2>/dev/null || true); fi
        case $state in
        running) return ;;
        degraded) break ;;
        esac
        sleep 0.05
    done
    echo "the machine is not up, but: $state" >&2
    return 1
}

# Runs a program in the machine.
enter() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup --root --wd -- \
        env -i PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 "$@" </dev/null
}

# All processes of the machine end with its process 1, at once: there is nothing in it to save.
stop() {
    kill -KILL "${leader:-$unshare}" 2>/dev/null || true
    wait "$unshare" 2>/dev/null || true
    remove_groups "$NAME"
}

# Machines whose xtask was killed.
left_behind() {
    local mount_point group owner
    while read -r _ mount_point; do
        for group in "$mount_point/$PREFIX"*; do
            owner=${group##*/$PREFIX}
            if [[ -d $group && ! -e /proc/${owner%%-*} ]]; then basename "$group"; fi
        done
    done < <(hierarchies)
}

# A group can be removed once the kernel has done away with its last process.
remove_groups() {
    local mount_point tries
    while read -r _ mount_point; do
        for ((tries = 0; tries < 100; tries++)); do
            [[ -d $mount_point/$1 ]] || break
            find "$mount_point/$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
        done
    done < <(hierarchies)
}

# Where the host keeps its control groups, one hierarchy per line: "OPTIONS MOUNT-POINT", with `unified` for version 2.
hierarchies() {
    findmnt --noheadings --list --types cgroup2 --output TARGET | sed 's/^/unified /'
    local options
    for options in name=systemd memory pids cpu cpuacct blkio devices; do
        findmnt --noheadings --list --types cgroup --options "$options" --output TARGET | sed "s/^/$options /"
    done
}

outside() {
    local root=$1 name=$2 groups mount_point
    groups=$(hierarchies)
    # The groups joined here are the roots of the namespace that unshare makes.
    while read -r _ mount_point; do
        mkdir -p "$mount_point/$name"
        echo $$ >"$mount_point/$name/cgroup.procs"
    done <<<"$groups"
    exec unshare --mount --uts --ipc --pid --net --cgroup --fork --kill-child=KILL bash "$0" inside "$root" "$name"
}

inside() {
    local root=$1 name=$2 machine groups
    groups=$(hierarchies)
    mount --make-rprivate /
    machine=$(mktemp --directory)
    mount -t tmpfs -o size=2g,mode=755 machine "$machine"
    mkdir "$machine"/{changes,work,root}
    mount -t overlay -o "lowerdir=$root,upperdir=$machine/changes,workdir=$machine/work" machine "$machine/root"
    cd "$machine/root"

    mount -t proc -o nosuid,nodev,noexec proc proc
    mount -t sysfs -o nosuid,nodev,noexec,ro sysfs sys
    mount -t tmpfs -o nosuid,nodev,mode=755 run run
    devices
    control_groups <<<"$groups"
    hostname "$name"

    mkdir .outside
    pivot_root . .outside
    # Where the host has the old hierarchies of control groups too, systemd 256 and later need this variable.
    exec chroot . /bin/sh -c 'umount -l /.outside && rmdir /.outside && mount --make-rshared / &&
        exec env -i container=xtask SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd'
}

devices() {
    local name minor
    mount -t tmpfs -o nosuid,mode=755 dev dev
    mkdir dev/{pts,shm}
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
    mount -t tmpfs -o nosuid,nodev shm dev/shm
    ln -s pts/ptmx dev/ptmx
    while read -r name minor; do
        mknod --mode=666 "dev/$name" c 1 "$minor"
    done <<<$'null 3\nzero 5\nfull 7\nrandom 8\nurandom 9'
    mknod --mode=666 dev/tty c 5 0
    ln -s /proc/self/fd dev/fd
    ln -s /proc/self/fd/0 dev/stdin
    ln -s /proc/self/fd/1 dev/stdout
    ln -s /proc/self/fd/2 dev/stderr
}

# The same hierarchies as the host's, seen from the machine's own groups downwards.
control_groups() {
    local lines line options at=sys/fs/cgroup
    mapfile -t lines
    if [[ ${#lines[@]} == 1 ]]; then
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$at"
        return
    fi
    mount -t tmpfs -o nosuid,nodev,noexec,mode=755 cgroups "$at"
    for line in "${lines[@]}"; do
        options=${line%% *}
        mkdir "$at/${options#name=}"
        if [[ $options == unified ]]; then
            mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$at/unified"
        else
            mount -t cgroup -o "nosuid,nodev,noexec,${options/name=/none,name=}" cgroup "$at/${options#name=}"
        fi
    done
}

"$@"
