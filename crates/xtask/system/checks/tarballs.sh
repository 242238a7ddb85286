#!/bin/bash
# What is in the tarballs runs as it is unpacked, and as the README installs it. The machine has neither Rust nor the packages.

checks() {
    check 'unpacked, the client asks the server three times' unpacked
    check 'installed by hand, both run as services' by_hand
}

unpacked() {
    local name server version
    refuses command -v cargo rustc servidor cliente
    cd /tmp
    for name in servidor cliente; do
        tar --extract --file /checks/$name-*-linux.tar.gz
        mv $name-*-linux $name
    done
    version=$(servidor/servidor --version)
    same "${version/servidor/cliente}" "$(cliente/cliente --version)"
    servidor/servidor --config servidor/servidor.toml >/run/server.log 2>&1 &
    server=$!
    eventually 'it listens' "connects $SERVER"
    # However busy the machine is, no round counts as disturbed.
    cliente/cliente --count 3 --interval 100ms --stall-threshold 1m >/run/report
    grep '3 right' /run/report
    kill $server
    wait $server
}

by_hand() {
    local name
    for name in servidor cliente; do
        cd /tmp/$name
        install $name /usr/bin/
        install -D --mode=644 $name.toml /etc/$name/$name.toml
        install --mode=644 $name*.service /etc/systemd/system/
    done
    systemctl daemon-reload
    systemctl enable --now --quiet servidor cliente
    both_active
    eventually 'the first round' '(($(rounds_begun) > 0))'
    no_round_failed
}
