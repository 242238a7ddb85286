//! `cargo xtask test --memory`: attacks the memory of the service in a virtual machine, under the unit that is shipped.
//!
//! Only a kernel of its own has nothing but version 2 of control groups, which charges what sockets hold to the service.

mod attacks;
mod formula;
mod inside;
mod kernel;
mod machine;

use std::fs;
use std::path::PathBuf;

pub(crate) use inside::{NAME as INSIDE, command as inside_command, run as inside};

use crate::command::{build, missing, run as run_command, sh, skip, target, workspace};
use crate::system::rootfs;
use formula::{CONNECTIONS, worst_case};
use machine::Overlay;

/// Programs that make and boot a machine, and the Debian package of each.
const TOOLS: [(&str, &str); 7] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("cpio", "cpio"),
    ("strip", "binutils"),
    ("setpriv", "util-linux"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
];

/// How many connections are attacked with unless all are wanted: an emulated machine takes minutes for more.
const SOME_CONNECTIONS: u64 = 512;

pub(crate) fn run(all_connections: bool) -> anyhow::Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return skip("the virtual machine needs Linux on x86-64");
    }
    if let Some(reason) = missing(&TOOLS) {
        return skip(&reason);
    }
    let target = target()?;
    let folder = target.join("memory");
    fs::create_dir_all(&folder)?;
    let Some(kernel) = kernel::ensure(&folder)? else {
        return skip("apt has no linux-image-cloud-amd64");
    };
    let root = rootfs::ensure(&target.join("system"), "bookworm")?;
    let connections = if all_connections { CONNECTIONS } else { SOME_CONNECTIONS };
    let overlay = overlay(folder.join("overlay"), connections)?;
    let archive = folder.join("archive.cpio");
    machine::archive(&root, &overlay, &archive)?;
    println!("==> {connections} connections in {} MiB at most", worst_case(connections) >> 20);
    machine::run(&kernel, &archive, &folder)?;
    println!("\nThe memory of the service is as bounded as SECURITY.md says.");
    Ok(())
}

/// The release, its unit and its settings, and what attacks them.
fn overlay(folder: PathBuf, connections: u64) -> anyhow::Result<Overlay> {
    let overlay = Overlay::new(folder)?;
    overlay.copy(&build(&["servidor"], "release")?[0], "usr/bin/servidor")?;
    let unit = fs::read(workspace().join("deploy/systemd/servidor.service"))?;
    overlay.write("usr/lib/systemd/system/servidor.service", unit)?;
    overlay.write("etc/servidor/servidor.toml", format!("max-connections = {connections}\n"))?;
    if connections != CONNECTIONS {
        let drop_in = format!("[Service]\nMemoryMax={}\n", worst_case(connections));
        overlay.write("etc/systemd/system/servidor.service.d/connections.conf", drop_in)?;
    }
    let xtask = overlay.path("usr/bin/xtask");
    run_command(sh("strip -o \"$1\" \"$0\"", &[&std::env::current_exe()?, &xtask]))?;
    overlay.run_at_boot(&format!("xtask {INSIDE} {connections}"))?;
    Ok(overlay)
}
