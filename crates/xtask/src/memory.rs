//! `cargo xtask test --memory`: attacks the memory of the service in a virtual machine, under the unit that is shipped.
//!
//! The kernel of this host may have version 1 of control groups, which does not charge the service for what sockets hold.

mod attacks;
mod formula;
mod inside;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};

pub(crate) use inside::{NAME as INSIDE, command as inside_command, run as inside};

use crate::command::{build, missing, skip, target, workspace};
use crate::system::rootfs;
use formula::{CONNECTIONS, worst_case};

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
    let tree = rootfs::ensure(&target.join("system"), "bookworm")?;
    let servidor = build(&["servidor"], "release")?.remove(0);
    let connections = if all_connections { CONNECTIONS } else { SOME_CONNECTIONS };
    let memory = worst_case(connections);
    println!("==> {connections} connections in {} MiB at most", memory >> 20);
    // The machine ends with this process.
    let mut machine = Command::new("setpriv");
    machine.args(["--pdeathsig", "KILL", "bash", "crates/xtask/system/vm.sh"]).current_dir(workspace());
    machine.args([&tree, &folder, &servidor, &std::env::current_exe()?]);
    machine.arg(connections.to_string());
    if !all_connections {
        machine.arg(memory.to_string());
    }
    let status = machine.status().context("cannot start setpriv")?;
    if status.code() == Some(2) {
        return skip("apt has no linux-image-cloud-amd64");
    }
    ensure!(status.success(), "the memory of the service is not as bounded as SECURITY.md says");
    println!("\nThe memory of the service is as bounded as SECURITY.md says.");
    Ok(())
}
