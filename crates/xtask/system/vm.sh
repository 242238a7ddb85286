#!/bin/bash
# vm.sh TREE FOLDER SERVIDOR XTASK CONNECTIONS [MEMORY]: boots a virtual machine from TREE, in which XTASK attacks the memory of
# SERVIDOR. Its unit allows MEMORY bytes, or as many as shipped. Whatever is made goes to FOLDER. Status 2: apt has no kernel.
set -euo pipefail

readonly TREE=$1 FOLDER=$2 SERVIDOR=$3 XTASK=$4 CONNECTIONS=$5 MEMORY=${6:-}
readonly OVERLAY=$FOLDER/overlay OUTPUT=$FOLDER/output.log

# Debian's kernel for machines in a cloud: the package that its metapackage depends on, downloaded on first use.
kernel() {
    local package unfinished=$FOLDER/unfinished
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p')
    [[ $package ]] || exit 2
    if [[ ! -d $FOLDER/$package ]]; then
        echo "==> the kernel, kept in $FOLDER/$package" >&2
        rm -rf "$unfinished"
        mkdir "$unfinished"
        cd "$unfinished"
        # Root's downloads are made by another user, who may not write here.
        apt-get -q -o APT::Sandbox::User=root download "$package" >&2 || exit 2
        dpkg-deb --extract linux-image-*.deb .
        rm linux-image-*.deb
        mv "$unfinished" "$FOLDER/$package"
    fi
    echo "$FOLDER/$package"/boot/vmlinuz-*
}

# Files for the machine, on top of the tree: the daemon with its unit, what attacks it, and a unit that starts that.
overlay() {
    local units=$OVERLAY/etc/systemd/system
    rm -rf "$OVERLAY"
    install -D --mode=755 "$(dirname "$0")/vm-init.sh" "$OVERLAY/init"
    install -D --mode=755 "$SERVIDOR" "$OVERLAY/usr/bin/servidor"
    strip -o "$OVERLAY/usr/bin/xtask" "$XTASK"
    install -D --mode=644 deploy/systemd/servidor.service "$OVERLAY/usr/lib/systemd/system/servidor.service"
    mkdir -p "$OVERLAY/etc/servidor" "$units/servidor.service.d" "$units/multi-user.target.wants"
    echo "max-connections = $CONNECTIONS" >"$OVERLAY/etc/servidor/servidor.toml"
    if [[ $MEMORY ]]; then
        printf '[Service]\nMemoryMax=%s\n' "$MEMORY" >"$units/servidor.service.d/connections.conf"
    fi
    cat >"$units/attacks.service" <<-END
	[Unit]
	After=multi-user.target
	SuccessAction=poweroff-force
	FailureAction=poweroff-force
	[Service]
	Type=oneshot
	LimitNOFILE=500000
	StandardOutput=file:/dev/ttyS1
	StandardError=file:/dev/ttyS1
	ExecStart=/bin/sh -c 'echo; xtask memory-attacks $CONNECTIONS; echo "the attacks have ended: \$\$?"'
	END
    ln -s ../attacks.service "$units/multi-user.target.wants/"
}

# boot MACHINE CPU: in the background. The machine ends with this process, and after 20 minutes.
boot() {
    : >"$OUTPUT"
    setpriv --pdeathsig KILL timeout 20m setpriv --pdeathsig KILL qemu-system-x86_64 -M "$1" -cpu "$2" -m 4096 -smp 2 \
        -nodefaults -no-user-config -display none -no-reboot -nic none \
        -serial "file:$FOLDER/console.log" -serial "file:$OUTPUT" -kernel "$kernel" -initrd "$FOLDER/archive.cpio" \
        -append 'console=ttyS0 quiet panic=-1 systemd.show_status=0 systemd.mask=serial-getty@ttyS0.service' </dev/null &
    qemu=$!
}

# With KVM, a machine boots in seconds.
is_up() {
    local end=$((SECONDS + 20))
    until [[ -s $OUTPUT ]]; do
        ((SECONDS < end)) && kill -0 "$qemu" 2>/dev/null || return 1
        sleep 0.1
    done
}

kernel=$(kernel)
overlay
# The kernel unpacks one archive after the other.
for tree in "$TREE" "$OVERLAY"; do
    (cd "$tree" && find . -xdev -print0 | cpio -0 -o -H newc --quiet)
done >"$FOLDER/archive.cpio"
if [[ -w /dev/kvm ]] && boot q35,accel=kvm host,-arch-capabilities && ! is_up; then
    echo 'KVM does not boot a machine here: it is emulated'
    kill "$qemu" 2>/dev/null || true
    wait "$qemu" || true
    boot q35,accel=tcg max
elif [[ ! -w /dev/kvm ]]; then
    boot q35,accel=tcg max
fi
tail --lines=+1 --follow --pid="$qemu" "$OUTPUT"
grep '^the attacks have ended: 0' "$OUTPUT" >/dev/null || {
    echo "The service did not survive the attacks, or the machine ended too early: see $FOLDER/console.log." >&2
    exit 1
}
