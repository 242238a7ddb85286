#!/bin/sh
# What the kernel starts first. systemd cannot leave the kernel's first file system, so everything moves to another one.
set -e
mkdir -p /machine
mount -t tmpfs -o size=2g,mode=755 machine /machine
for folder in bin sbin lib lib64 usr etc var opt root home srv mnt tmp; do
    [ ! -e "/$folder" ] || cp -a "/$folder" /machine/
done
mkdir -p /machine/proc /machine/sys /machine/dev /machine/run
exec switch_root /machine /lib/systemd/systemd
