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

use crate::cargo::{build, find_program, run as run_command, workspace};
use crate::system::rootfs;
use formula::{CONNECTIONS, worst_case};
use machine::Overlay;

/// Programs that make and boot a machine, and the Debian package that holds each.
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
    if let Some(missing) = missing(rustix::process::geteuid().is_root(), |tool| find_program(tool).is_some())
    {
        return skip(&missing);
    }
    let folder = workspace().join("target/memory");
    fs::create_dir_all(&folder)?;
    let Some(kernel) = kernel::ensure(&folder)? else {
        return skip("apt has no linux-image-cloud-amd64");
    };
    let root = rootfs::ensure(&workspace().join("target/system"), "bookworm")?;
    let connections = if all_connections { CONNECTIONS } else { SOME_CONNECTIONS };
    let overlay = overlay(folder.join("overlay"), connections)?;
    let archive = folder.join("archive.cpio");
    machine::archive(&root, &overlay, &archive)?;
    println!("==> {connections} connections in {} MiB at most", worst_case(connections) >> 20);
    machine::run(&kernel, &archive, &folder)?;
    println!("\nThe memory of the service is as bounded as SECURITY.md says.");
    Ok(())
}

/// The release, its unit and its sockets, and what attacks them.
fn overlay(folder: PathBuf, connections: u64) -> anyhow::Result<Overlay> {
    let overlay = Overlay::new(folder)?;
    for servidor in build(&["servidor"], "release")? {
        overlay.copy(&servidor, "usr/bin/servidor")?;
    }
    for file in ["servidor.service", "servidor.socket", "servidor-metrics.socket"] {
        let unit = fs::read(workspace().join("deploy/systemd").join(file))?;
        overlay.write(&format!("usr/lib/systemd/system/{file}"), unit)?;
    }
    overlay.write("etc/servidor/servidor.toml", format!("max-connections = {connections}\n"))?;
    if connections != CONNECTIONS {
        let limit = worst_case(connections);
        let drop_in = format!("[Service]\nMemoryMax={limit}\n");
        overlay.write("etc/systemd/system/servidor.service.d/connections.conf", drop_in)?;
    }
    let xtask = overlay.path("usr/bin/xtask");
    let mut strip = std::process::Command::new("strip");
    strip.arg("-o").arg(&xtask).arg(std::env::current_exe()?);
    run_command(strip)?;
    overlay.run_at_boot(&format!("xtask {INSIDE} {connections}"))?;
    Ok(overlay)
}

fn skip(reason: &str) -> anyhow::Result<()> {
    anyhow::ensure!(std::env::var("CI").as_deref() != Ok("true"), "CI skips nothing, and {reason}");
    println!("skipped: {reason}");
    Ok(())
}

fn missing(is_root: bool, is_installed: impl Fn(&str) -> bool) -> Option<String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Some("the virtual machine needs Linux on x86-64".to_owned());
    }
    if !is_root {
        return Some("making a machine's file system needs root".to_owned());
    }
    let missing = TOOLS.iter().find(|(tool, _)| !is_installed(tool));
    missing.map(|(tool, package)| format!("{tool} is missing: apt-get install {package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_in_one_line() {
        let without_root = missing(false, |_| true).unwrap();
        let without = missing(true, |tool| tool != "cpio").unwrap();
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            assert_eq!(missing(true, |_| true), None);
            assert_eq!(without_root, "making a machine's file system needs root");
            assert_eq!(without, "cpio is missing: apt-get install cpio");
        }
    }
}
