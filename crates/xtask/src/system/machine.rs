//! A throw-away machine: a real systemd in namespaces of its own, which ends with this process, however that ends.
//!
//! What goes wrong inside is a failed test, so commands panic, and say what they had seen.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long anything that must happen may take, on a machine that is busy with other things.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);
const PREFIX: &str = "servidor-system-";

pub(super) struct Machine {
    unshare: Child,
    leader: Pid,
    name: String,
}

impl Machine {
    /// Boots the tree `root`, which stays as it is. No two machines may have the same `name` at the same time.
    pub(super) fn boot(root: &Path, name: &str, log: &Path) -> anyhow::Result<Self> {
        sweep();
        let name = format!("{PREFIX}{}-{name}", std::process::id());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("system/boot.sh");
        let console = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        // The parent's death kills `unshare`, whose death kills the machine: nothing survives Ctrl-C, or worse.
        let mut unshare = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "bash"])
            .arg(script)
            .arg("outside")
            .args([root.as_os_str(), name.as_ref()])
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .context("cannot start setpriv")?;
        match Self::leader(&mut unshare) {
            Ok(leader) => Ok(Self { unshare, leader, name }),
            Err(error) => {
                let _ = unshare.kill();
                let _ = unshare.wait();
                Err(error.context(fs::read_to_string(log).unwrap_or_default()))
            }
        }
    }

    /// The machine's process 1, once it says that it is up.
    fn leader(unshare: &mut Child) -> anyhow::Result<Pid> {
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let mut state = String::new();
        let mut leader = None;
        let up = happens_within(DEADLINE, || {
            leader = fs::read_to_string(&children).ok().and_then(|text| text.trim().parse().ok());
            let Some(leader) = leader.and_then(Pid::from_raw) else { return false };
            let output = enter(leader).args(["systemctl", "is-system-running"]).output();
            state = output.map(|output| text(&output.stdout)).unwrap_or_default();
            matches!(state.as_str(), "running" | "degraded")
        });
        if let Some(status) = unshare.try_wait()? {
            anyhow::bail!("the machine did not boot: {status}");
        }
        anyhow::ensure!(up, "the machine is not up within {DEADLINE:?}, but: {state}");
        anyhow::ensure!(state == "running", "the machine came up {state}");
        leader.and_then(Pid::from_raw).context("the machine has no process 1")
    }

    /// A program of the machine, to be run in it.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = enter(self.leader);
        command.arg(program);
        command
    }

    /// What a shell script in the machine comes to.
    pub(super) fn try_sh(&self, script: &str) -> Output {
        let output = self.command("/bin/sh").args(["-euc", script]).output();
        output.unwrap_or_else(|error| panic!("cannot enter the machine: {error}"))
    }

    /// What a shell script in the machine prints; it must succeed.
    pub(super) fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        let (printed, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "`{script}`: {}\n{printed}\n{errors}", output.status);
        printed
    }

    /// A property of a unit.
    pub(super) fn property(&self, unit: &str, name: &str) -> String {
        self.sh(&format!("systemctl show --value --property={name} {unit}"))
    }

    /// Writes a file of the machine, and the folders it is in.
    pub(super) fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.outside(path);
        let folder = path.parent().expect("no file is the root");
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        fs::write(&path, contents).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Where a path of the machine is to be found from here.
    pub(super) fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    /// Does something on the machine's network, in a thread of its own; its panic is handed on.
    pub(super) fn on_network<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let network = format!("/proc/{}/ns/net", self.leader);
        let network = File::open(&network).unwrap_or_else(|error| panic!("{network}: {error}"));
        let act = || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a network");
            act()
        };
        thread::scope(|scope| scope.spawn(act).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // All processes of the machine go with its process 1, at once: there is nothing in it to save.
        let _ = kill_process(self.leader, Signal::KILL);
        let _ = self.unshare.wait();
        remove_groups(&self.name);
    }
}

/// Waits for something that gives no other sign than being so.
pub(super) fn happens_within(limit: Duration, mut happens: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !happens() {
        if start.elapsed() > limit {
            return false;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "no event crosses from a machine's namespaces to here"
        )]
        thread::sleep(Duration::from_millis(50));
    }
    true
}

/// Panics unless it happens.
pub(super) fn await_that(what: &str, happens: impl FnMut() -> bool) {
    assert!(happens_within(DEADLINE, happens), "not within {DEADLINE:?}: {what}");
}

fn enter(leader: Pid) -> Command {
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(leader.to_string());
    command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("LANG", "C.UTF-8").stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// Removes the control groups of machines whose xtask was killed.
fn sweep() {
    for hierarchy in hierarchies() {
        for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let owner = rest.split('-').next().unwrap_or_default();
            if !Path::new("/proc").join(owner).exists() {
                remove_groups(&name);
            }
        }
    }
}

fn remove_groups(name: &str) {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name);
        // A group can be removed once the kernel has buried its last process.
        happens_within(Duration::from_secs(5), || {
            remove_group(&group);
            !group.exists()
        });
    }
}

fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// The mount points of all control groups: one where there is only version 2, else a folder of them.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let folders = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    if root.join("cgroup.controllers").exists() {
        found = vec![root.to_owned()];
    }
    found
}
