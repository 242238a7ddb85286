//! The life of the packages: installed, upgraded, removed, purged, each under running daemons.

use super::restart::{asking, quick_client};
use super::support::{
    DAEMONS, SERVER, ask, await_active, await_both_active, edit, is_active, rounds, stored,
};
use crate::system::machine::Machine;

/// All that is on the disk, but for what dpkg and the journal keep about everything they do.
const LISTING: &str = "find / -xdev -path /var/lib/dpkg -prune -o -path /var/log -prune -o -path /packages -prune \
                       -o -path /listing -prune -o -print | sort";

pub(super) fn before(machine: &Machine) -> String {
    machine.sh(&format!("touch /listing; {LISTING} >/listing; wc --lines </listing"))
}

pub(super) fn installed(machine: &Machine) -> String {
    machine.sh("dpkg --install /packages/servidor.deb /packages/cliente.deb");
    for daemon in DAEMONS {
        await_active(machine, daemon);
        assert_eq!(machine.sh(&format!("systemctl is-enabled {daemon}")), "enabled");
    }
    assert_eq!(machine.sh("dpkg --verify servidor cliente"), "");
    // What is enabled is started by the next boot.
    machine.sh("systemctl list-dependencies --plain multi-user.target | grep --quiet servidor.service");
    machine.sh("dpkg-query --show --showformat '${Package} ${Version}, ${Installed-Size} kB\\n' servidor cliente")
        .replace('\n', "; ")
}

pub(super) fn upgraded(machine: &Machine) -> String {
    quick_client(machine);
    edit(machine, "servidor", "max-connections = 6");
    machine.sh("rm /etc/servidor/servidor.toml.shipped");
    for daemon in DAEMONS {
        next_version(machine, daemon);
    }
    let up = asking(machine, || replace(machine, "servidor", "servidor-next.deb"));
    assert_eq!(rounds(machine).1, 0, "rounds failed over the upgrade of servidor");
    let tail = |file: &str| machine.sh(&format!("tail --lines=1 {file}"));
    assert_eq!(tail("/etc/servidor/servidor.toml"), "max-connections = 6");
    assert_eq!(tail("/etc/servidor/servidor.toml.dpkg-dist"), "# Of the next version.");

    let down = asking(machine, || replace(machine, "servidor", "servidor.deb"));
    assert_eq!(rounds(machine).1, 0, "rounds failed over the downgrade of servidor");
    assert_eq!(stored(machine, "servidor"), "2");

    machine.sh("cp /etc/cliente/cliente.toml /etc/cliente/other.toml
        echo 'metrics-listen = \"off\"' >>/etc/cliente/other.toml
        systemctl start cliente@other");
    let instance = machine.property("cliente@other", "MainPID");
    replace(machine, "cliente", "cliente-next.deb");
    assert_ne!(machine.property("cliente@other", "MainPID"), instance, "the instance runs the old version");
    assert_eq!(tail("/etc/cliente/cliente.toml"), "# Of the next version.");
    replace(machine, "servidor", "servidor-next.deb");
    await_both_active(machine);
    format!("{up} and {down} questions answered meanwhile")
}

/// Installs another version of a daemon, whose process must then be another.
fn replace(machine: &Machine, daemon: &str, package: &str) {
    let process = machine.property(daemon, "MainPID");
    // Settings are kept and replaced as dpkg does by default; without a terminal it must be told so.
    machine.sh(&format!("dpkg --force-confdef --force-confold --install /packages/{package}"));
    await_active(machine, daemon);
    assert_ne!(machine.property(daemon, "MainPID"), process, "the old {daemon} still runs");
}

/// Makes a package of the next version, whose settings file has another line.
fn next_version(machine: &Machine, daemon: &str) {
    machine.sh(&format!(
        "rm -rf /tmp/next
        dpkg-deb --raw-extract /packages/{daemon}.deb /tmp/next
        echo '# Of the next version.' >>/tmp/next/etc/{daemon}/{daemon}.toml
        sed -i 's/^Version: .*/&+next/' /tmp/next/DEBIAN/control
        cd /tmp/next
        find . -path ./DEBIAN -prune -o -type f -printf '%P\\0' | xargs -0 md5sum >DEBIAN/md5sums
        dpkg-deb -Znone --root-owner-group --build /tmp/next /packages/{daemon}-next.deb >/dev/null
        rm -rf /tmp/next"
    ));
}

pub(super) fn removed(machine: &Machine) -> String {
    machine.sh("dpkg --remove servidor cliente");
    for unit in ["servidor.service", "cliente.service", "cliente@other.service"] {
        assert!(!is_active(machine, unit), "{unit} still runs");
    }
    assert!(machine.on_network(|| ask(SERVER, "1\n")).is_err(), "somebody still answers");
    machine
        .sh("test -f /etc/servidor/servidor.toml -a -f /etc/cliente/cliente.toml -a ! -e /usr/bin/servidor");
    // Settings that were kept are found again.
    machine.sh("dpkg --install /packages/servidor-next.deb /packages/cliente-next.deb");
    await_both_active(machine);
    assert_eq!(machine.sh("tail --lines=1 /etc/servidor/servidor.toml"), "max-connections = 6");
    String::new()
}

pub(super) fn purged(machine: &Machine) -> String {
    // The drop-in and the instance's settings are the administrator's.
    machine
        .sh("rm -r /etc/systemd/system/cliente.service.d /etc/cliente/other.toml; systemctl daemon-reload");
    machine.sh("dpkg --purge servidor cliente");
    let left = machine.try_sh(&format!("{LISTING} | diff /listing -"));
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    assert_eq!(left, "", "purged, and yet");
    assert_eq!(machine.sh("systemctl list-units --all --plain --no-legend 'servidor*' 'cliente*'"), "");
    String::new()
}
