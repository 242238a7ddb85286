#!/bin/bash
# boot.sh outside ROOT NAME: boots the systemd of the tree ROOT as process 1 of namespaces of its own, and waits for its end.
#
# ROOT stays as it is: all writes go to a memory file system, which vanishes with the last process. Nothing here needs
# undoing but the control groups called NAME. Whoever ends this process ends all that it started.
set -euo pipefail

# Where the host keeps its control groups, a hierarchy a line: "OPTIONS MOUNT-POINT", with `unified` for version 2.
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
    # Where the host has the old hierarchies of control groups too, systemd 256 and later want to be told twice.
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
